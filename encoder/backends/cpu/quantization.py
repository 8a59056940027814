"""Numbers in 8 and 16 bits, as every path of the CPU backend has them.

int8: a row of x is low + step q with q from 0 to 255, its own low and step; an output's weights are scale w, with w from -127 to 127 and its own scale.
Products are whole numbers and their sums are exact, so a row's bits depend on nothing but the row, and all paths have the same sums.

Weights are scaled a little further down than 127 where needed: in each run of sixteen along K, the positive ones of places 0, 1, 4, 5, 8, 9, 12, 13, those
of the other eight, and the negative ones of each add up to 128 at most. Then four products of AVX2's pairs fit in 16 bits for any x (255 times 128 is
32,640). On docstrings this costs a minimum cosine of 0.9965 instead of 0.9977 (MiniLM), and gives all processors the same numbers.
"""

from __future__ import annotations

import numpy as np

LEVELS = 255
MOST_WEIGHT, MOST_OF_EIGHT = 127, 128
EIGHT_ROUNDINGS = 4
"""Eight weights that are rounded to whole numbers are together at most so much more than they were."""
EXACT = 1 << 24
"""Up to here float32 holds every whole number."""


def quantize_weight(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """weight: [N, K] float32. Returns int8 [N, K] and scales [N] float32; an output of zeros has 1."""
    outputs, columns = weight.shape
    runs = np.zeros((outputs, -(-columns // 16) * 16), np.float32)
    runs[:, :columns] = weight
    runs = runs.reshape(outputs, -1, 4, 2, 2)
    scale = np.abs(weight).max(axis=1, initial=0) / np.float32(MOST_WEIGHT)
    for sign in (np.float32(1), np.float32(-1)):
        eight = np.maximum(runs * sign, 0).sum(axis=(2, 4)).max(axis=(1, 2), initial=0)
        np.maximum(scale, eight / np.float32(MOST_OF_EIGHT - EIGHT_ROUNDINGS), out=scale)
    scale[scale == 0] = 1
    return np.rint(weight / scale[:, None]).astype(np.int8), scale


def quantize_rows(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x: [T, K] float32. Returns q [T, K], whole numbers in float32, step [T, 1] and low [T, 1]. A row that is not finite gets a step of NaN."""
    low = x.min(axis=1, keepdims=True)
    span = x.max(axis=1, keepdims=True) - low
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        inverse = np.where(span > 1e-30, np.float32(LEVELS) / span, np.float32(0))
        quantized = np.rint((x - low) * inverse)
        step = span / np.float32(LEVELS) + (low - low) + (span - span)
    return np.nan_to_num(quantized, copy=False), step, low


def round_to_bfloat16(x: np.ndarray) -> np.ndarray:
    """The nearest bfloat16 to each, ties to even, as the upper halves of float32: uint16."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)


def widen_bfloat16(upper: np.ndarray) -> np.ndarray:
    """float32 of what `round_to_bfloat16` gives."""
    return (upper.astype(np.uint32) << np.uint32(16)).view(np.float32)
