"""Small random BERTs, written as the folders that people have: plain or sentence-transformers', whole or sharded, in any float type."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

WORDS = ["the", "a", "of", "zip", "file", "open", "how", "do", "i", "model", "text", "vector", "##s", "##ing", "read", "write", "list", "dict"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "F64": np.float64}


@dataclass(frozen=True)
class TinyBert:
    """Sizes of a random BERT and how its folder looks. The defaults are odd on purpose: nothing is a power of two."""

    layers: int = 2
    heads: int = 3
    head_dim: int = 10
    intermediate: int = 52
    positions: int = 40
    types: int = 2
    activation: str = "gelu"
    eps: float = 1e-12
    dtype: str = "F32"
    prefix: str = ""
    old_norm_names: bool = False
    shards: int = 1
    extra: dict[str, tuple[int, ...]] = field(default_factory=dict)
    seed: int = 0

    @property
    def hidden(self) -> int:
        return self.heads * self.head_dim

    @property
    def vocab(self) -> list[str]:
        return SPECIAL + WORDS + list("bcdefghjklmnopqrstuvwxyz")

    def tensors(self) -> dict[str, np.ndarray]:
        """Hugging Face names, without prefix, float64."""
        random = np.random.default_rng(self.seed)
        e, f = self.hidden, self.intermediate
        shapes: dict[str, tuple[int, ...]] = {
            "embeddings.word_embeddings.weight": (len(self.vocab), e),
            "embeddings.position_embeddings.weight": (self.positions, e),
            "embeddings.token_type_embeddings.weight": (self.types, e),
            "embeddings.LayerNorm.weight": (e,),
            "embeddings.LayerNorm.bias": (e,),
        }
        for layer in range(self.layers):
            at = f"encoder.layer.{layer}"
            for name, out, into in (
                ("attention.self.query", e, e),
                ("attention.self.key", e, e),
                ("attention.self.value", e, e),
                ("attention.output.dense", e, e),
                ("intermediate.dense", f, e),
                ("output.dense", e, f),
            ):
                shapes |= {f"{at}.{name}.weight": (out, into), f"{at}.{name}.bias": (out,)}
            for name in ("attention.output.LayerNorm", "output.LayerNorm"):
                shapes |= {f"{at}.{name}.weight": (e,), f"{at}.{name}.bias": (e,)}
        shapes |= {"pooler.dense.weight": (e, e), "pooler.dense.bias": (e,)} | self.extra
        centre = {name: 1.0 if name.endswith("LayerNorm.weight") else 0.0 for name in shapes}
        return {name: centre[name] + random.normal(0, 0.3, shape) for name, shape in shapes.items()}

    def config(self) -> dict[str, object]:
        return {
            "model_type": "bert",
            "architectures": ["BertModel"],
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "intermediate_size": self.intermediate,
            "vocab_size": len(self.vocab),
            "type_vocab_size": self.types,
            "max_position_embeddings": self.positions,
            "hidden_act": self.activation,
            "layer_norm_eps": self.eps,
            "pad_token_id": 0,
        }

    def write(self, folder: Path, tokenizer: bool = True) -> Path:
        """A plain Hugging Face folder."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "config.json", self.config())
        self.write_weights(folder)
        if tokenizer:
            write_tokenizer(folder, self.vocab)
        return folder

    def write_weights(self, folder: Path) -> None:
        stored = {self._stored_name(name): np.ascontiguousarray(tensor.astype(DTYPES[self.dtype])) for name, tensor in self.tensors().items()}
        if self.shards == 1:
            save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
            return
        files = [f"model-{shard + 1:05d}-of-{self.shards:05d}.safetensors" for shard in range(self.shards)]
        homes = {name: files[index % self.shards] for index, name in enumerate(stored)}
        for file in files:
            save_file({name: tensor for name, tensor in stored.items() if homes[name] == file}, folder / file, metadata={"format": "pt"})
        total = sum(tensor.nbytes for tensor in stored.values())
        write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": homes})

    def _stored_name(self, name: str) -> str:
        if self.old_norm_names and ".LayerNorm." in name:
            name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        return self.prefix + name


def write_tokenizer(folder: Path, vocab: list[str], max_length: int | None = None) -> None:
    """tokenizer.json as transformers saves it, with truncation and padding in it that must be ignored."""
    from tokenizers import BertWordPieceTokenizer

    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n", encoding="utf-8")
    tokenizer = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True)
    tokenizer.enable_truncation(7)
    tokenizer.enable_padding(length=7)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": max_length or int(1e30)})


def write_sentence_transformers(
    folder: Path,
    hidden: int,
    *,
    pooling: str = "mean",
    dense: list[tuple[int, str, bool]] | None = None,
    normalize: bool = True,
    max_seq_length: int | None = None,
    prompts: dict[str, str] | None = None,
    default_prompt: str | None = None,
    seed: int = 1,
) -> Path:
    """The sentence-transformers files around a plain folder. dense: (width, activation class, bias) of each Dense module."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    flags = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens", "last": "lasttoken"}
    settings = {"word_embedding_dimension": hidden} | {f"pooling_mode_{flag}": kind == pooling for kind, flag in flags.items()}
    write_json(folder / "1_Pooling" / "config.json", settings)
    random = np.random.default_rng(seed)
    for width, activation, bias in dense or []:
        path = f"{len(modules)}_Dense"
        write_json(folder / path / "config.json", {"in_features": hidden, "out_features": width, "bias": bias, "activation_function": activation})
        weights = {"linear.weight": random.normal(0, 0.3, (width, hidden)).astype(np.float32)}
        if bias:
            weights["linear.bias"] = random.normal(0, 0.3, width).astype(np.float32)
        save_file(weights, folder / path / "model.safetensors")
        modules.append((path, "Dense"))
        hidden = width
    if normalize:
        modules.append((f"{len(modules)}_Normalize", "Normalize"))
    listed = [{"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"} for index, (path, kind) in enumerate(modules)]
    write_json(folder / "modules.json", listed)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_seq_length, "do_lower_case": False})
    write_json(folder / "config_sentence_transformers.json", {"prompts": prompts or {}, "default_prompt_name": default_prompt})
    return folder


def write_json(file: Path, value: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value), encoding="utf-8")
