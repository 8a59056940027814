"""Model folders with random weights in well-known shapes: speed does not depend on the weights' values, and nothing must be downloaded."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

VOCAB_SIZE, MAX_POSITIONS, TOKEN_TYPES = 30522, 512, 2
_SPREAD = 0.02  # BERT's own initialisation: activations stay finite and of the size of one


@dataclass(frozen=True)
class Shape:
    """Of a BERT, in the words of config.json."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int


SHAPES = {
    "minilm-l6": Shape(384, 6, 12, 1536),
    "bert-base": Shape(768, 12, 12, 3072),
    "bert-large": Shape(1024, 24, 16, 4096),
}


def write_random_model(shape: Shape, folder: Path, seed: int = 0) -> None:
    """A plain BERT folder (config.json, model.safetensors in F32): mean pooling, no tokenizer."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(seed)
    tensors = {}
    for name, dimensions in _parameters(shape).items():
        drawn = rng.standard_normal(dimensions, np.float32) * np.float32(_SPREAD)
        tensors[name] = drawn + 1 if name.endswith("LayerNorm.weight") else drawn
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "vocab_size": VOCAB_SIZE,
        "max_position_embeddings": MAX_POSITIONS,
        "type_vocab_size": TOKEN_TYPES,
        **asdict(shape),
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(tensors, folder / "model.safetensors")


def _parameters(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Hugging Face name -> dimensions, [out, in]."""
    hidden, inner = shape.hidden_size, shape.intermediate_size
    tables = {"word": VOCAB_SIZE, "position": MAX_POSITIONS, "token_type": TOKEN_TYPES}
    found: dict[str, tuple[int, ...]] = {f"embeddings.{name}_embeddings.weight": (rows, hidden) for name, rows in tables.items()}
    norms = ["embeddings.LayerNorm"]
    linears: dict[str, tuple[int, int]] = {}
    for number in range(shape.num_hidden_layers):
        layer = f"encoder.layer.{number}"
        linears |= {f"{layer}.attention.self.{part}": (hidden, hidden) for part in ("query", "key", "value")}
        linears |= {f"{layer}.attention.output.dense": (hidden, hidden)}
        linears |= {f"{layer}.intermediate.dense": (inner, hidden), f"{layer}.output.dense": (hidden, inner)}
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    for name, dimensions in [*linears.items(), *((name, (hidden,)) for name in norms)]:
        found |= {f"{name}.weight": dimensions, f"{name}.bias": dimensions[:1]}
    return found
