"""The lines in which attention kernels read a bias: two neighbours from an even place, of the first line for even distances, of the second for odd ones."""

from __future__ import annotations

import numpy as np
import pytest

from embermill.encoder.backends.cuda.distance_bias import BEYOND, bias_lines, reach, shared_bytes


@pytest.mark.parametrize("radius", [0, 1, 90, 91, 300])
def test_every_distance_is_at_an_even_place(radius: int) -> None:
    bias = np.random.default_rng(radius).standard_normal((3, 2 * radius + 1), dtype=np.float32)
    lines, middle = bias_lines(bias, 64), reach(radius)
    assert lines.dtype == np.float32 and lines.shape == (3, 2, 2 * middle) and middle % 2 == 0
    assert lines[0].nbytes == shared_bytes(radius) and lines[0].nbytes % 16 == 0
    for distance in range(-radius - BEYOND + 1, radius + BEYOND - 1):
        odd = distance % 2
        place = distance - odd + middle
        wanted = [np.clip(one, -radius, radius) + radius for one in (distance, distance + 1)]
        assert place % 2 == 0 and np.allclose(lines[:, odd, place : place + 2], bias[:, wanted] * 8)
