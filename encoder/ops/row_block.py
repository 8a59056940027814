"""How many rows a product has to be cut into for a row's bits to depend on that row alone.

A BLAS computes a product in blocks of rows, and the kernel of a full block may round differently from the one that finishes the remainder;
even inside one block two places may differ (OpenBLAS on AVX2: the first and the last six rows of twelve). A document whose first row
always falls on the same place of a block, in a product whose row count is a multiple of the block, always gets the same bits. The block is
a property of the BLAS and the processor, so it is measured, once per process and shape of weight.
"""

from __future__ import annotations

from functools import cache

import numpy as np

CANDIDATES = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)
REPEATS = (1, 2, 3, 5, 8, 13)
"""Blocks per tried product: one alone, and enough of them to meet every place of a wider register tile."""
MOST_ROWS = 4096
"""A product this long meets the BLAS's outer cuts as well."""


def invariant_block(weights: tuple[np.ndarray, ...], most_rows: int = MOST_ROWS) -> int | None:
    """The smallest candidate that keeps a row's bits for every one of `weights` ([K, N], in the layout in use); None where there is none."""
    for block in CANDIDATES:
        if all(_keeps_bits((weight.shape[0], weight.shape[1]), bool(weight.flags.c_contiguous), block, most_rows) for weight in weights):
            return block
    return None


@cache
def _keeps_bits(shape: tuple[int, int], row_major: bool, block: int, most_rows: int) -> bool:
    """Whether blocks of equal rows give equal bits wherever they stand, in products of few and of many blocks."""
    inner, columns = shape
    random = np.random.default_rng(12)
    weight = random.standard_normal((inner, columns) if row_major else (columns, inner), dtype=np.float32)
    weight = weight if row_major else weight.T
    rows = random.standard_normal((block, inner), dtype=np.float32)
    alone = (rows @ weight).view(np.int32)
    for repeats in (*REPEATS, max(1, most_rows // block)):
        product = (np.tile(rows, (repeats, 1)) @ weight).view(np.int32).reshape(repeats, block, columns)
        if not (product == alone).all():
            return False
    return True
