"""Products on every path but NumPy's float32: in 8 bits whole numbers that are exact, the same on all paths; and a row's bits its own."""

from __future__ import annotations

import secrets

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from embermill.encoder.backends.cpu.ops import NumpyOps
from embermill.encoder.backends.cpu.quantization import quantize_rows, quantize_weight, round_to_bfloat16, widen_bfloat16
from embermill.encoder.errors import ModelConfigError
from tests.encoder.backends.each_backend import CPU_PATHS, open_cpu
from tests.encoder.invariance import MODELS, check

SHAPES = [(1, 1, 1), (7, 30, 20), (33, 100, 17), (200, 384, 48), (5, 1536, 33), (193, 65, 16)]  # rows, K, N


@pytest.fixture
def random() -> np.random.Generator:
    seed = secrets.randbits(64)
    print(f"seed {seed}")
    return np.random.default_rng(seed)


@pytest.fixture(params=CPU_PATHS, ids="-".join)
def ops(request: pytest.FixtureRequest) -> NumpyOps:
    return open_cpu(*request.param)


def normal(random: np.random.Generator, *shape: int) -> np.ndarray:
    return random.standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_sums_are_exact_or_rounded_once_a_term(ops: NumpyOps, shape: tuple[int, int, int], random: np.random.Generator) -> None:
    rows, inner, outputs = shape
    x, weight, bias = normal(random, rows, inner) * 10 ** normal(random, rows, 1), normal(random, outputs, inner), normal(random, outputs)
    found = np.asarray(ops.linear(weight, bias)(x)).astype(np.float64)
    if ops.precision == "int8":
        (q, step, low), (w, scale) = quantize_rows(x), quantize_weight(weight)
        sums, sizes = w.sum(1, dtype=np.int64), np.abs(w).sum(1, dtype=np.int64)
        expected = ((q.astype(np.int64) @ w.astype(np.int64).T) * step.astype(np.float64) + low.astype(np.float64) * sums) * scale + bias
        terms = (255 * step + np.abs(low)) * sizes * scale + np.abs(bias)
        assert (np.abs(found - expected) <= 8 * 2.0**-24 * terms).all()
        return
    if ops.precision == "bfloat16":
        x, weight = widen_bfloat16(round_to_bfloat16(x)), widen_bfloat16(round_to_bfloat16(weight))
    expected, terms = x.astype(np.float64) @ weight.T + bias, np.abs(x).astype(np.float64) @ np.abs(weight).T + np.abs(bias)
    assert (np.abs(found - expected) <= (inner + 2) * 2.0**-24 * terms).all()


@pytest.mark.parametrize("ops", [path for path in CPU_PATHS if path != ("bfloat16", "NumPy")], ids="-".join, indirect=True)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_row_has_the_same_bits_wherever_it_stands(ops: NumpyOps, shape: tuple[int, int, int], random: np.random.Generator) -> None:
    rows, inner, outputs = shape
    linear, x = ops.linear(normal(random, outputs, inner), normal(random, outputs), "gelu"), normal(random, rows, inner)
    assert ops.row_block == 1
    together, order = np.asarray(linear(x)), random.permutation(rows)
    assert np.asarray(linear(x[order])).tobytes() == together[order].tobytes()
    for row in order[:20]:
        assert np.asarray(linear(x[row : row + 1])).tobytes() == together[row].tobytes()


@pytest.mark.parametrize("worst", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_so(ops: NumpyOps, worst: float, random: np.random.Generator) -> None:
    """And harms no other row: the job puts such a document into quarantine."""
    linear, x = ops.linear(normal(random, 20, 40), None), normal(random, 3, 40)
    x[1, 33] = worst
    with np.errstate(invalid="ignore"):
        found = np.asarray(linear(x))
    assert np.isfinite(found[[0, 2]]).all() and not np.isfinite(found[1]).any()


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu", "silu", "tanh"])
def test_activations_are_those_of_float32(ops: NumpyOps, activation: str, random: np.random.Generator) -> None:
    weight, x = normal(random, 30, 16), normal(random, 50, 16) * 3
    plain, activated = np.asarray(ops.linear(weight, None)(x)), np.asarray(ops.linear(weight, None, activation)(x))
    expected = NumpyOps().linear(np.eye(30, dtype=np.float32), None, activation)(np.ascontiguousarray(plain))
    np.testing.assert_allclose(activated, np.asarray(expected), rtol=2e-6, atol=4e-7)
    with pytest.raises(ModelConfigError, match="activation: expected one of"):
        ops.linear(weight, None, "softplus")


@pytest.mark.parametrize("shape", [MODELS[0], *(pytest.param(model, marks=pytest.mark.long) for model in MODELS[1:])], ids=str)
@pytest.mark.parametrize("path", [path for path in CPU_PATHS if path[1] != "NumPy"] + [pytest.param(("int8", "NumPy"), marks=pytest.mark.long)], ids="-".join)
def test_the_bits_of_a_document_are_its_own(path: tuple[str, str], shape: tuple[int, int, int, int, str]) -> None:
    check(*shape, make_ops=lambda threads: open_cpu(*path, threads))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 70), st.floats(0, 4))
@example(0, 16, 4.0)
def test_no_sum_of_eight_passes_sixteen_bits(seed: int, columns: int, spread: float) -> None:
    """What AVX2 adds up in 16 bits, for any row: weights of one sign alone included."""
    random = np.random.default_rng(seed)
    weight = random.standard_normal((3, columns), dtype=np.float32) * np.exp(spread * random.standard_normal((3, columns), dtype=np.float32))
    weight[1] = np.abs(weight[1])
    quantized, scale = quantize_weight(weight)
    runs = np.zeros((3, -(-columns // 16) * 16), np.int64)
    runs[:, :columns] = quantized
    runs = runs.reshape(3, -1, 4, 2, 2)
    assert 255 * np.maximum(runs, 0).sum(axis=(2, 4)).max() <= 32767 and 255 * np.minimum(runs, 0).sum(axis=(2, 4)).min() >= -32768
    assert (np.abs(quantized * scale[:, None] - weight).max(axis=1) <= scale * 0.5001).all()
