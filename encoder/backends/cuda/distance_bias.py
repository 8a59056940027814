"""A bias by distance, as the attention kernels for tensor cores read it (kernels/attention_distance.cuh)."""

from __future__ import annotations

import numpy as np

BEYOND = 80
"""Distances past the radius that a block of 64 keys and 16 queries may still ask for."""


def line_length(radius: int) -> int:
    """BIAS_LINE: float32 values of one line; a multiple of 16 bytes."""
    return (2 * (radius + BEYOND) + 3) // 4 * 4


def shared_bytes(radius: int) -> int:
    """Of one head: two lines."""
    return 2 * line_length(radius) * 4


def bias_lines(bias: np.ndarray, head_dim: int) -> np.ndarray:
    """bias [H, 2R+1], added to scaled scores -> [H, 2, BIAS_LINE] float32, added to scores before they are scaled.

    Place j of the first line is distance j - R - BEYOND, of the second one more, so that two neighbours lie at an even place in one of them.
    """
    radius = bias.shape[1] // 2
    places = np.arange(line_length(radius))
    lines = [np.clip(places + first - radius - BEYOND, -radius, radius) + radius for first in (0, 1)]
    return np.ascontiguousarray(bias[:, np.stack(lines)] * np.sqrt(head_dim), np.float32)
