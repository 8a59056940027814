"""How many rows a product has to be cut into for a row's bits to depend on that row alone.

A BLAS computes a product in blocks of rows, and the kernel of a full block may round differently from the one that finishes the remainder;
even inside one block two places may differ (OpenBLAS on AVX2: the first and the last six rows of twelve, in the outermost columns of each
cut). A document whose first row always falls on the same place of a block, in a product whose row count is a multiple of the block, always
gets the same bits. The block is a property of the BLAS, the processor and the shape of the weight, so it is measured: once per machine for
weights of a size that makes this take long, else once per process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np

from embermill.encoder.backends.cpu.threads import blas_name
from embermill.encoder.machine_cache import machine_cache

Shape = tuple[int, int] | tuple[int, int, str]
"""(K, N) of a row-major weight, or with "F" as the third that of a column-major one."""
CANDIDATES = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)
PROBED_ROWS = (2, 3, 6, 8, 12, 24, 48, 96, 384)
"""Sizes of products in which both layouts of a weight are compared."""

WORTH_KEEPING = 1 << 18
"""Elements of a weight from which on a finding is kept on disk; smaller ones are measured in no time."""


def invariant_block(shapes: Iterable[Shape], most_rows: int) -> int | None:
    """The smallest candidate that keeps a row's bits in products of up to `most_rows` rows with [K, N] weights; None: there is none.

    shapes: that of every weight in use.
    """
    wanted = tuple(shapes)
    return next((block for block in CANDIDATES if all(_known_to_keep_bits(shape, block, most_rows) for shape in wanted)), None)


def layouts_agree(shape: tuple[int, int]) -> bool:
    """Whether a product with a [K, N] weight has the same bits whether it is row-major or column-major, from two rows up.

    So it is of OpenBLAS on AVX2; on AVX-512 small products have kernels of their own, one for each layout.
    """
    if shape[0] * shape[1] < WORTH_KEEPING:
        return _layouts_agree(shape)
    notes, name = machine_cache("layouts-1", f"NumPy {np.__version__}, {blas_name()}"), f"{shape}"
    found = notes.get(name)
    if found is None:
        found = _layouts_agree(shape)
        notes.put(name, found)
    return found


@cache
def _layouts_agree(shape: tuple[int, int]) -> bool:
    random = np.random.default_rng(13)
    weight = random.standard_normal(shape, dtype=np.float32)
    columns = np.asfortranarray(weight)
    x = random.standard_normal((max(PROBED_ROWS), shape[0]), dtype=np.float32)
    return all(((x[:rows] @ weight).view(np.int32) == (x[:rows] @ columns).view(np.int32)).all() for rows in PROBED_ROWS)


def _known_to_keep_bits(shape: Shape, block: int, most_rows: int) -> bool:
    """`_keeps_bits`, from this machine's notes where it is there."""
    if shape[0] * shape[1] < WORTH_KEEPING:
        return _keeps_bits(shape, block, most_rows)
    notes, name = machine_cache("row_block-1", f"NumPy {np.__version__}, {blas_name()}"), f"{shape} {block} of {most_rows}"
    found = notes.get(name)
    if found is None:
        found = _keeps_bits(shape, block, most_rows)
        notes.put(name, found)
    return found


@cache
def _keeps_bits(shape: Shape, block: int, most_rows: int) -> bool:
    """Whether blocks of equal rows give equal bits wherever they stand, in products of few and of many blocks.

    One block alone, and numbers of blocks of every kind up to the most: a BLAS may change kernels with the size of a product.
    """
    random = np.random.default_rng(12)
    weight = random.standard_normal(shape[:2], dtype=np.float32)
    if len(shape) == 3:
        weight = np.asfortranarray(weight)
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
