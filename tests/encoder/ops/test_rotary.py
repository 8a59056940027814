"""Angles of rotary positions: those of a length by itself, and of all lengths at once as a GPU keeps them."""

from __future__ import annotations

import numpy as np
import pytest

from embermill.encoder.ops.rotary import DynamicNtk, Rotary, inverse_frequencies


@pytest.mark.parametrize("head_dim", [2, 16, 64])
def test_frequencies_of_all_lengths_are_those_of_each(head_dim: int) -> None:
    rotary = Rotary(inverse_frequencies(1000.0, head_dim), DynamicNtk(1000.0, 2.0, 2048))
    table = rotary.frequencies_up_to(2200)
    assert len(table) == 153 and table.dtype == np.float32
    for length in (2048, 2049, 2100, 2200):
        np.testing.assert_array_equal(table[length - 2048], rotary.frequencies(length))
    assert (table[0] == rotary.inverse_frequencies).all()
    assert len(rotary.frequencies_up_to(5)) == 1


@pytest.mark.parametrize("theta", [1000.0, 10000.0])
def test_where_theta_depends_on_the_length_the_formula_is_followed(theta: float) -> None:
    """The steps are rounded to float32, as transformers does; the sum of that is a few units in the last place."""
    dynamic, powers = DynamicNtk(theta, 4.0, 2048), np.arange(32) / 32
    lengths = np.array([2049, 3000, 4096, 8192])
    thetas = theta * (4.0 * lengths / 2048 - 3.0) ** (64 / 62)
    np.testing.assert_allclose(dynamic.frequencies(lengths, 64), thetas[:, None] ** -powers, rtol=6e-7)


@pytest.mark.reference
@pytest.mark.parametrize("head_dim", [4, 32, 64, 128])
def test_frequencies_are_rounded_as_transformers_rounds_them(head_dim: int) -> None:
    """The same bits but for one in fifty, where torch's power differs from the rounded one; and those by one unit in the last place."""
    import torch
    from transformers import NomicBertConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    lengths = np.arange(2049, 8193, 61)
    for theta, factor in ((1000.0, 2.0), (1000.0, 4.0), (10000.0, 4.0)):
        parameters = {"rope_type": "dynamic", "rope_theta": theta, "factor": factor}
        config = NomicBertConfig(hidden_size=2 * head_dim, num_attention_heads=2, max_position_embeddings=2048, rope_parameters=parameters)
        theirs = np.stack([ROPE_INIT_FUNCTIONS["dynamic"](config, seq_len=torch.tensor(length))[0].numpy() for length in lengths.tolist()])
        ours = DynamicNtk(theta, factor, 2048).frequencies(lengths, head_dim)
        assert (ours != theirs).mean() <= 0.05
        assert (np.abs(ours.view(np.int32) - theirs.view(np.int32)) <= 2).all()
