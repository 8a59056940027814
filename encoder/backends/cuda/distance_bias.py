"""A bias by distance, as the attention kernels for tensor cores read it (kernels/attention_distance.cuh)."""

from __future__ import annotations

import numpy as np

BEYOND = 80
"""Distances past the radius that a block of 64 keys and 16 queries may still ask for."""


def reach(radius: int) -> int:
    """BIAS_REACH: the place of distance 0. Even, because two neighbours are read at once, from an even place."""
    return (radius + BEYOND + 1) // 2 * 2


def shared_bytes(radius: int) -> int:
    """Of one head: two lines."""
    return 2 * 2 * reach(radius) * 4


def bias_lines(bias: np.ndarray, head_dim: int) -> np.ndarray:
    """bias [H, 2R+1], added to scaled scores -> [H, 2, BIAS_LINE] float32, added to scores before they are scaled.

    Place j of the first line is distance j - BIAS_REACH, of the second one more: an even distance and the next one are at an even place of the first,
    an odd one and the next at an even place of the second.
    """
    radius = bias.shape[1] // 2
    distances = np.arange(2 * reach(radius)) - reach(radius)
    lines = np.stack([np.clip(distances + first, -radius, radius) + radius for first in (0, 1)])
    return np.ascontiguousarray(bias[:, lines] * np.sqrt(head_dim), np.float32)
