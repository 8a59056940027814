"""The golden files of the families (tests/golden/families, made by make.py there): tiny models and the vectors that transformers computes from them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from embermill.encoder import Encoder

GOLDEN = Path(__file__).parents[2] / "golden" / "families"
FAMILIES = sorted(folder.name for folder in GOLDEN.iterdir() if (folder / "vectors.npz").is_file())
TOLERANCE = 1e-6


class Golden(NamedTuple):
    """documents: token ids. vectors: by pooling, "mean" and (but for static models) "cls": [B, E] float32, normalised."""

    documents: list[list[int]]
    vectors: dict[str, np.ndarray]


def read_golden(family: str) -> Golden:
    with np.load(GOLDEN / family / "vectors.npz") as arrays:
        ids, offsets = arrays["ids"], arrays["offsets"]
        documents = [ids[start:end].tolist() for start, end in pairwise(offsets)]
        return Golden(documents, {pooling: arrays[pooling] for pooling in ("mean", "cls") if pooling in arrays})


def embed(folder: Path, documents: list[list[int]], pooling: str = "mean", threads: int = 1) -> np.ndarray:
    """Normalised vectors [B, E] of the model in `folder`, by this process's backend for the CPU."""
    with Encoder.from_pretrained(str(folder), device="cpu", pooling=pooling, normalize=True, threads=threads) as encoder:
        return encoder.encode_token_ids(documents)


def worst(family: str, folder: Path) -> float:
    """The largest difference from the golden vectors, of both poolings."""
    golden = read_golden(family)
    return max(float(np.abs(embed(folder, golden.documents, pooling) - vectors).max()) for pooling, vectors in golden.vectors.items())
