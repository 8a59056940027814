"""Angles of rotary positions: those of a length by itself, and of all lengths at once as a GPU keeps them."""

from __future__ import annotations

import numpy as np
import pytest

from embermill.encoder.ops.rotary import DynamicNtk, Rotary, inverse_frequencies


@pytest.mark.parametrize("head_dim", [2, 16, 64])
def test_frequencies_of_all_lengths_are_those_of_each(head_dim: int) -> None:
    rotary = Rotary(inverse_frequencies(1000.0, head_dim), DynamicNtk(2.0, 2048))
    table = rotary.frequencies_up_to(2200)
    assert len(table) == 153 and table.dtype == np.float32
    for length in (2048, 2049, 2100, 2200):
        assert np.allclose(table[length - 2048], rotary.frequencies(length), rtol=2e-7, atol=0)
    assert (table[0] == rotary.inverse_frequencies).all()
    assert len(rotary.frequencies_up_to(5)) == 1
