"""Model folders with random weights in well-known shapes: speed does not depend on the weights' values, and nothing must be downloaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embermill.encoder.models import family_of, read_family_config

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
    write_random_folder(config, folder, seed)


def write_random_folder(config: Mapping[str, Any], folder: Path, seed: int = 0, spread: float = _SPREAD) -> None:
    """A plain folder of any family that we run, from its config.json: weights around 0, those of norms around 1, under the family's own names."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "config.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    family = read_family_config(config, file)
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, dimensions in family_of(family.model_type).name_table(family).shapes.items():
        drawn = rng.standard_normal(dimensions, np.float32) * np.float32(spread)
        tensors[name] = drawn + 1 if len(dimensions) == 1 and name.endswith(".weight") else drawn  # the only vectors called weights are those of norms
    save_file(tensors, folder / "model.safetensors")
