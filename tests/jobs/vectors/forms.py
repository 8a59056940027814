"""Forms of vectors, for tests."""

from __future__ import annotations

import numpy as np

from embermill.jobs.vectors.form import FLOAT16, FLOAT32, INT8, MSB, SENTENCE_TRANSFORMERS, SYMMETRIC, UBINARY, StoredVector

PACKING = {FLOAT32: "", FLOAT16: "", INT8: SYMMETRIC, UBINARY: MSB}


def form(dtype: str, dim: int, *, column: str = "", scale: float | None = None, packing: str | None = None, unit: bool = False) -> StoredVector:
    """Of the column `embedding`. Not measured where no scale is given."""
    return StoredVector(column or f"embedding_{dtype}", "embedding", dtype, dim, PACKING[dtype] if packing is None else packing, scale, unit=unit)


def st_int8(dim: int) -> StoredVector:
    return form(INT8, dim, column="embedding_st", packing=SENTENCE_TRANSFORMERS)


def unit_vectors(rows: int, dim: int, seed: int = 0) -> np.ndarray:
    """[rows, dim] float32 of length 1, some near one another, as those of texts are."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(1, rows // 10), dim))
    vectors = centres[rng.integers(len(centres), size=rows)] + 0.7 * rng.standard_normal((rows, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)
