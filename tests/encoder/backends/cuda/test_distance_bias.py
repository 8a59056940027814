"""The lines in which attention kernels read a bias: two neighbouring distances lie at an even place of one of them, from any distance that a block asks for."""

from __future__ import annotations

import numpy as np
import pytest

from embermill.encoder.backends.cuda.distance_bias import BEYOND, bias_lines, line_length, shared_bytes


@pytest.mark.parametrize("radius", [0, 1, 90, 91, 300])
def test_every_distance_is_at_an_even_place(radius: int) -> None:
    bias = np.random.default_rng(radius).standard_normal((3, 2 * radius + 1), dtype=np.float32)
    lines = bias_lines(bias, 64)
    assert lines.dtype == np.float32 and lines.shape == (3, 2, line_length(radius))
    assert lines[0].nbytes == shared_bytes(radius) and lines[0].nbytes % 16 == 0
    reach = radius + BEYOND
    for distance in range(-reach + 1, reach - 1):
        place = distance + reach
        line, at = (0, place) if place % 2 == 0 else (1, place - 1)
        wanted = [np.clip(one, -radius, radius) + radius for one in (distance, distance + 1)]
        assert np.allclose(lines[:, line, at : at + 2], bias[:, wanted] * 8)
