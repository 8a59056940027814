"""How many rows a product has to be cut into for a row's bits to depend on that row alone.

A BLAS computes a product in blocks of rows, and the kernel of a full block may round differently from the one that finishes the remainder;
even inside one block two places may differ (OpenBLAS on AVX2: the first and the last six rows of twelve, in the outermost columns of each
cut). A document whose first row always falls on the same place of a block, in a product whose row count is a multiple of the block, always
gets the same bits. The block is a property of the BLAS, the processor and the shape of the weight, so it is measured, once per process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np

CANDIDATES = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)


def invariant_block(shapes: Iterable[tuple[int, int]], most_rows: int) -> int | None:
    """The smallest candidate that keeps a row's bits in products of up to `most_rows` rows with [K, N] weights, row-major; None: there is none.

    shapes: (K, N) of every weight in use.
    """
    wanted = tuple(shapes)
    return next((block for block in CANDIDATES if all(_keeps_bits(shape, block, most_rows) for shape in wanted)), None)


@cache
def _keeps_bits(shape: tuple[int, int], block: int, most_rows: int) -> bool:
    """Whether blocks of equal rows give equal bits wherever they stand, in products of few and of many blocks.

    One block alone, and numbers of blocks of every kind up to the most: a BLAS may change kernels with the size of a product.
    """
    random = np.random.default_rng(12)
    weight = random.standard_normal(shape, dtype=np.float32)
    rows = random.standard_normal((block, shape[0]), dtype=np.float32)
    alone = (rows @ weight).view(np.int32)
    for repeats in _fibonacci(max(2, -(-most_rows // block))):
        product = (np.tile(rows, (repeats, 1)) @ weight).view(np.int32).reshape(repeats, *alone.shape)
        if not (product == alone).all():
            return False
    return True


def _fibonacci(most: int) -> Iterator[int]:
    """1, 2, 3, 5, 8, ... and `most` itself."""
    one, other = 1, 2
    while one < most:
        yield one
        one, other = other, one + other
    yield most
