"""GELU without exp: as close to the erf formula as promised, on both tails and far beyond them, in place, whatever the block's size."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embermill.encoder.backends.cpu.activations import ACTIVATIONS
from embermill.encoder.backends.cpu.workspace import Workspace

WORKSPACE = Workspace()


def gelu(values: np.ndarray) -> np.ndarray:
    x = values.astype(np.float32)
    with np.errstate(over="ignore"):
        ACTIVATIONS["gelu"](x, WORKSPACE)
    return x


def expected(values: np.ndarray) -> np.ndarray:
    return np.array([0.5 * x * math.erfc(-x / math.sqrt(2)) for x in values.astype(np.float32).tolist()])


def test_gelu_is_the_erf_form() -> None:
    x = np.concatenate([np.linspace(-12, 12, 60_001), np.random.default_rng().normal(0, 1.5, 20_000)])
    assert (np.abs(gelu(x) - expected(x)) <= 5e-7 * np.abs(x)).all()


def test_a_negative_tail_is_small_and_negative_not_noise() -> None:
    x = np.linspace(-4.5, -2, 1000)
    assert np.abs(gelu(x) / expected(x) - 1).max() < 0.02


@pytest.mark.parametrize("x", [0.0, -0.0, 30.0, -30.0, 1e5, -1e5, 1e30, -1e30, 1e-30])
def test_gelu_far_out_and_at_zero(x: float) -> None:
    assert gelu(np.array([x]))[0] == np.float32(x if x > 20 else 0.5 * x if abs(x) < 1 else 0)


def test_nan_stays_nan() -> None:
    assert np.isnan(gelu(np.array([np.nan]))).all()


@given(st.integers(1, 70), st.integers(0, 69), st.sampled_from(sorted(ACTIVATIONS)))
def test_a_value_s_bits_do_not_depend_on_its_place_in_the_block(size: int, at: int, name: str) -> None:
    """A block's last values may be computed by another loop than the rest."""
    random = np.random.default_rng(size)
    alone = random.standard_normal(1, dtype=np.float32) * 2
    block = random.standard_normal(size, dtype=np.float32)
    block[at % size] = alone[0]
    with np.errstate(over="ignore"):
        ACTIVATIONS[name](block, WORKSPACE)
        ACTIVATIONS[name](alone, WORKSPACE)
    assert block[at % size].tobytes() == alone.tobytes()
