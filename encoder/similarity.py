"""Scores between two collections of embeddings, as sentence-transformers defines them: the larger, the more similar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from embermill.encoder.errors import InputError

SMALLEST_NORM = 1e-12


def normalized(vectors: np.ndarray) -> np.ndarray:
    """[B, E] at length 1; a vector of zeros stays one."""
    norms = np.sqrt(np.einsum("be,be->b", vectors, vectors))[:, None]
    unit: np.ndarray = vectors / np.maximum(norms, SMALLEST_NORM)
    return unit


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return _dot(normalized(a), normalized(b))


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    products: np.ndarray = a @ b.T
    return products


def _euclidean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return -np.stack([np.sqrt(((row - b) ** 2).sum(axis=1)) for row in a]) if len(a) else np.empty((0, len(b)), np.float32)


def _manhattan(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return -np.stack([np.abs(row - b).sum(axis=1) for row in a]) if len(a) else np.empty((0, len(b)), np.float32)


SIMILARITIES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"cosine": _cosine, "dot": _dot, "euclidean": _euclidean, "manhattan": _manhattan}


def similarity(kind: str, one: Any, other: Any) -> np.ndarray:
    """[A, B] float32 of embeddings [A, E] (or one of them, [E]) and [B, E] (or [E]). kind: one of SIMILARITIES. Raises InputError for other shapes."""
    a, b = (np.atleast_2d(np.asarray(vectors, np.float32)) for vectors in (one, other))
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise InputError(f"expected embeddings [A, E] and [B, E] with as many columns, got shapes {list(np.shape(one))} and {list(np.shape(other))}.")
    return SIMILARITIES[kind](a, b)
