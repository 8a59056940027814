"""Small random static models, in the two layouts that people have: sentence-transformers' StaticEmbedding and model2vec's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tests.encoder.families.folders import WORDS

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *"bcdefghjklmnopqrstuvwxyz"]
WIDTH, ROWS = 12, 19
TEXTS = ["open the zip file", "Reading  a list", "", "   ", "漢字", "how do i read " * 200, "zip"]


def write_tokenizer(folder: Path, truncation: int | None = None) -> None:
    """WordPiece, with special tokens that a static model does not want and padding that it does not either."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokens = {token: index for index, token in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(tokens, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_padding()
    if truncation is not None:
        tokenizer.enable_truncation(truncation)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))


def write_modules(folder: Path, table: str, normalize: bool) -> None:
    listed = [("StaticEmbedding", table), *([("Normalize", "1_Normalize")] if normalize else [])]
    modules = [{"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"} for index, (kind, path) in enumerate(listed)]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")


def write_static_embedding(folder: Path, *, truncation: int | None = None, normalize: bool = False, dtype: Any = np.float32) -> np.ndarray:
    """Returns the table [V, E], float32."""
    table = np.random.default_rng(3).normal(0, 1, (len(VOCABULARY), WIDTH)).astype(dtype)
    write_tokenizer(folder / "0_StaticEmbedding", truncation)
    save_file({"embedding.weight": table}, folder / "0_StaticEmbedding" / "model.safetensors")
    write_modules(folder, "0_StaticEmbedding", normalize)
    return table.astype(np.float32)


def write_model2vec(folder: Path, *, mapping: bool = True, weights: bool = True, modules: bool = True) -> np.ndarray:
    """Returns the table [V, E] with mapping and weights folded in, float32."""
    random = np.random.default_rng(4)
    rows = ROWS if mapping else len(VOCABULARY)
    tensors: dict[str, np.ndarray] = {"embeddings": random.normal(0, 1, (rows, WIDTH)).astype(np.float16)}
    if mapping:
        tensors["mapping"] = random.integers(0, rows, len(VOCABULARY))
    if weights:
        tensors["weights"] = random.uniform(0.1, 2, len(VOCABULARY))
    write_tokenizer(folder)
    save_file(tensors, folder / "model.safetensors")
    config = {"model_type": "model2vec", "architectures": ["StaticModel"], "apply_pca": 12, "sif_coefficient": 1e-4, "hidden_dim": WIDTH, "normalize": True}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if modules:
        write_modules(folder, ".", normalize=True)
    table = tensors["embeddings"].astype(np.float32)
    table = table[tensors["mapping"]] if mapping else table
    return table * tensors["weights"].astype(np.float32)[:, None] if weights else table
