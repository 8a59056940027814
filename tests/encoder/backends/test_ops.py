"""One test body for every backend: each operation against the same formula in float64, on fresh random numbers.

What a layer gets is opaque, so inputs are made with `embed` and read back with `to_host`: the expected value starts from what the backend
really holds. The tolerance is a few of the backend's own roundings, and where an operation sums many terms, what such a sum may carry (rounding.py).
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest

from embermill.encoder.errors import ModelConfigError
from embermill.encoder.models.layers import PostNormLayer, plan_block
from embermill.encoder.ops.base import Activations, Ops
from embermill.encoder.ops.blocks import AttentionWeights, LinearWeights, MLPWeights, NormWeights, PostNormBlock
from embermill.encoder.ops.reference import ReferenceOps
from embermill.encoder.pipeline.batching import PackedBatch
from tests.encoder.backends.each_backend import BACKENDS, Backend, random_batch
from tests.encoder.backends.rounding import FLOAT32, STEEPEST, attention_error, gamma, norm_error, product_error, stored

VOCABULARY, POSITIONS = 97, 320
LENGTHS = [1, 2, 7, 12, 13, 31, 64, 150, 64, 5]
SHAPES = [(2, 12), (3, 16), (2, 32), (4, 64)]  # heads, head dim
EPS = 1e-12
erf = np.vectorize(math.erf, otypes=[np.float64])


@pytest.fixture
def random() -> np.random.Generator:
    seed = secrets.randbits(64)
    print(f"seed {seed}")
    return np.random.default_rng(seed)


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request: pytest.FixtureRequest) -> Backend:
    assert isinstance(request.param, Backend)
    return request.param


@pytest.fixture
def ops(backend: Backend) -> Ops:
    return backend.open()


class Inputs:
    """A batch on the backend and hidden states [T, E] made of it: as the backend holds them, and as float64 on the host."""

    def __init__(self, ops: Ops, random: np.random.Generator, hidden_size: int, lengths: list[int] | None = None) -> None:
        self.random = random
        self.tables = [normal(random, VOCABULARY, hidden_size), normal(random, POSITIONS, hidden_size), normal(random, hidden_size)]
        self.norm = near_one(random, hidden_size), normal(random, hidden_size) * np.float32(0.1)
        embed = ops.embed(*self.tables, NormWeights(*self.norm, EPS))  # type: ignore[arg-type, call-arg]
        ops.linear(normal(random, hidden_size, hidden_size), None)  # a backend knows its row block once it has seen a weight
        self.batch = random_batch(random, lengths or LENGTHS, VOCABULARY, ops.row_block)
        self.device_batch = ops.to_device(self.batch)
        self.hidden: Activations = embed(self.device_batch)
        self.host = real(ops.to_host(self.hidden))


def normal(random: np.random.Generator, *shape: int) -> np.ndarray:
    return random.standard_normal(shape, dtype=np.float32)


def weight(random: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return normal(random, rows, columns) * np.float32(columns**-0.5)


def near_one(random: np.random.Generator, *shape: int) -> np.ndarray:
    return 1 + np.float32(0.2) * normal(random, *shape)


def real(x: np.ndarray) -> np.ndarray:
    assert x.dtype == np.float32
    return x.astype(np.float64)


def token_rows(batch: PackedBatch) -> np.ndarray:
    """The rows that hold tokens; what stands in filler rows is nobody's business."""
    return np.concatenate([np.arange(start, start + length) for start, length in zip(batch.cu_seqlens, batch.lengths, strict=False)])


def documents(batch: PackedBatch) -> Iterator[slice]:
    return (slice(start, start + length) for start, length in zip(batch.cu_seqlens, batch.lengths, strict=False))


def layer_norm(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPS) * gamma.astype(np.float64) + beta


def activated(x: np.ndarray, name: str | None) -> np.ndarray:
    if name == "gelu":
        return 0.5 * x * (1 + erf(x / math.sqrt(2)))
    if name == "gelu_new":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return {"relu": np.maximum(x, 0), "tanh": np.tanh(x), None: x}[name]


def attended(qkv: np.ndarray, batch: PackedBatch, num_heads: int, head_dim: int, unit: float) -> tuple[np.ndarray, np.ndarray]:
    """[T, E] twice: the context, and how far from it a correct one may be."""
    heads = qkv.reshape(len(qkv), 3, num_heads, head_dim)
    context, carried = np.zeros((2, len(qkv), num_heads, head_dim))
    for rows in documents(batch):
        query, key, value = (heads[rows, part].transpose(1, 0, 2) for part in range(3))
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(head_dim)
        odds = np.exp(scores - scores.max(-1, keepdims=True))
        context[rows] = (odds / odds.sum(-1, keepdims=True) @ value).transpose(1, 0, 2)
        carried[rows] = attention_error(query, key, value, unit).transpose(1, 0, 2)
    return context.reshape(len(qkv), -1), carried.reshape(len(qkv), -1)


def assert_close(
    got: np.ndarray, expected: np.ndarray, backend: Backend, steps: float, size: float = 1.0, *, carried: np.ndarray | float = 0.0
) -> None:
    """steps: how many roundings the operation may add up, each at the size of the largest value that it handles (`size` where not in the result).

    carried: what its sums may add to that, for each element.
    """
    assert got.shape == expected.shape
    assert np.isfinite(got).all()
    assert (np.abs(got - expected) <= carried + steps * backend.unit * max(size, float(np.abs(expected).max()))).all()


@pytest.mark.parametrize("hidden_size", [24, 48, 384])
def test_embed(ops: Ops, backend: Backend, random: np.random.Generator, hidden_size: int) -> None:
    inputs = Inputs(ops, random, hidden_size)
    word, position, token_type = (table.astype(np.float64) for table in inputs.tables)
    parts = [word[inputs.batch.input_ids], position[inputs.batch.position_ids], np.broadcast_to(token_type, inputs.host.shape)]
    total, rows = sum(parts), token_rows(inputs.batch)
    carried = norm_error(total, (stored(backend.unit) + gamma(2)) * sum(map(np.abs, parts)), inputs.norm[0], EPS)
    assert_close(inputs.host[rows], layer_norm(total, *inputs.norm)[rows], backend, 4, carried=carried[rows])


@pytest.mark.parametrize("activation", [None, "gelu", "gelu_new", "relu", "tanh"])
@pytest.mark.parametrize(("inner", "outer"), [(24, 72), (48, 40), (384, 96)])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
def test_linear(
    ops: Ops, backend: Backend, random: np.random.Generator, activation: str | None, inner: int, outer: int, transposed: bool, with_bias: bool
) -> None:
    inputs = Inputs(ops, random, inner)
    matrix = weight(random, outer, inner)
    bias = normal(random, outer) if with_bias else None
    linear = ops.linear(np.asfortranarray(matrix) if transposed else matrix, bias, activation)
    product = inputs.host @ matrix.T.astype(np.float64) + (0 if bias is None else bias)
    rows, carried = token_rows(inputs.batch), STEEPEST * product_error(inputs.host, matrix, backend.unit)
    got, expected = ops.to_host(linear(inputs.hidden)), activated(product, activation)
    assert_close(got[rows], expected[rows], backend, 4, float(np.abs(product).max()), carried=carried[rows])


def test_linear_adds_the_residual_last(ops: Ops, backend: Backend, random: np.random.Generator) -> None:
    inputs = Inputs(ops, random, 48)
    matrix, bias = weight(random, 48, 48), normal(random, 48)
    got = ops.to_host(ops.linear(matrix, bias, "relu")(inputs.hidden, residual=inputs.hidden))
    expected = np.maximum(inputs.host @ matrix.T.astype(np.float64) + bias, 0) + inputs.host
    rows = token_rows(inputs.batch)
    assert_close(got[rows], expected[rows], backend, 24)


@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("hidden_size", [24, 384])
def test_add_layer_norm(ops: Ops, backend: Backend, random: np.random.Generator, hidden_size: int, with_residual: bool) -> None:
    inputs = Inputs(ops, random, hidden_size)
    other = ops.linear(weight(random, hidden_size, hidden_size), normal(random, hidden_size))(inputs.hidden)
    other_host = real(ops.to_host(other))
    gain, beta = near_one(random, hidden_size), normal(random, hidden_size)
    got = ops.to_host(ops.add_layer_norm(gain, beta, EPS)(other, inputs.hidden if with_residual else None))
    total, rows = other_host + (inputs.host if with_residual else 0), token_rows(inputs.batch)
    carried = norm_error(total, FLOAT32 * np.abs(total), gain, EPS)
    assert_close(got[rows], layer_norm(total, gain, beta)[rows], backend, 4, carried=carried[rows])


@pytest.mark.parametrize(("hidden_size", "inner"), [(24, 36), (256, 256), (384, 1536), (512, 64), (768, 768)])
def test_linear_norm(ops: Ops, backend: Backend, random: np.random.Generator, hidden_size: int, inner: int) -> None:
    inputs = Inputs(ops, random, hidden_size)
    x = ops.linear(weight(random, inner, hidden_size), normal(random, inner))(inputs.hidden)
    x_host = real(ops.to_host(x))
    matrix, bias, gain, beta = weight(random, hidden_size, inner), normal(random, hidden_size), near_one(random, hidden_size), normal(random, hidden_size)
    got = ops.to_host(ops.linear_norm(matrix, bias, gain, beta, EPS)(x, inputs.hidden))
    product = x_host @ matrix.T.astype(np.float64)
    total, rows = product + bias + inputs.host, token_rows(inputs.batch)
    between = 3 * backend.unit * (np.abs(product) + np.abs(bias) + np.abs(inputs.host))  # the product, its bias and the residual may be stored on the way
    carried = norm_error(total, product_error(x_host, matrix, backend.unit) + between, gain, EPS)
    assert_close(got[rows], layer_norm(total, gain, beta)[rows], backend, 4, carried=carried[rows])


def test_layer_norm_of_equal_values_is_its_shift(ops: Ops, backend: Backend, random: np.random.Generator) -> None:
    inputs = Inputs(ops, random, 48)
    level = ops.linear(np.zeros((48, 48), np.float32), np.zeros(48, np.float32))(inputs.hidden)
    beta = normal(random, 48)
    got = ops.to_host(ops.add_layer_norm(near_one(random, 48), beta, EPS)(level, None))
    assert_close(got, np.broadcast_to(beta.astype(np.float64), got.shape), backend, 2)


@pytest.mark.parametrize(("num_heads", "head_dim"), SHAPES)
@pytest.mark.parametrize("sharpness", [1.0, 30.0])
def test_attention(ops: Ops, backend: Backend, random: np.random.Generator, num_heads: int, head_dim: int, sharpness: float) -> None:
    """Sharp scores reach far beyond the range of exp in float32: the largest has to be taken off first."""
    hidden_size = num_heads * head_dim
    inputs = Inputs(ops, random, hidden_size)
    matrix = weight(random, 3 * hidden_size, hidden_size)
    matrix[:hidden_size] *= np.float32(sharpness)
    qkv = ops.linear(matrix, normal(random, 3 * hidden_size))(inputs.hidden)
    held = real(ops.to_host(qkv))
    got = ops.to_host(ops.attention(num_heads, head_dim)(qkv, inputs.device_batch))
    expected, carried = attended(held, inputs.batch, num_heads, head_dim, backend.unit)
    rows = token_rows(inputs.batch)
    assert_close(got[rows], expected[rows], backend, 4, float(np.abs(held[rows, 2 * hidden_size :]).max()), carried=carried[rows])


@pytest.mark.parametrize("kind", ["cls", "mean", "max", "last"])
def test_segment_pool(ops: Ops, backend: Backend, random: np.random.Generator, kind: str) -> None:
    inputs = Inputs(ops, random, 48)
    got = ops.to_host(ops.segment_pool(kind)(inputs.hidden, inputs.device_batch))
    pool = {"cls": lambda x: x[0], "mean": lambda x: x.mean(0), "max": lambda x: x.max(0), "last": lambda x: x[-1]}[kind]
    assert_close(got, np.stack([pool(inputs.host[rows]) for rows in documents(inputs.batch)]), backend, 8)


def test_an_unknown_pooling_or_activation_is_refused(ops: Ops, random: np.random.Generator) -> None:
    with pytest.raises(ModelConfigError, match="median"):
        ops.segment_pool("median")
    with pytest.raises(ModelConfigError, match="swish"):
        ops.linear(weight(random, 8, 8), None, "swish")


@pytest.mark.parametrize("activation", [None, "tanh"])
def test_dense_truncate_and_normalize(ops: Ops, backend: Backend, random: np.random.Generator, activation: str | None) -> None:
    inputs = Inputs(ops, random, 48)
    pooled = ops.segment_pool("mean")(inputs.hidden, inputs.device_batch)
    matrix, bias = weight(random, 32, 48), normal(random, 32)
    dense = ops.dense(matrix, bias, activation)(pooled)
    expected = activated(real(ops.to_host(pooled)) @ matrix.T.astype(np.float64) + bias, activation)
    float32 = Backend(backend.module, "float32", 6e-8)  # promised after pooling, whatever the precision before it
    assert_close(ops.to_host(dense), expected, float32, 24)
    short = ops.truncate(20)(dense)
    assert_close(ops.to_host(short), expected[:, :20], float32, 24)
    unit = real(ops.to_host(ops.l2_normalize(short)))
    expected = real(ops.to_host(short))
    assert_close(unit, expected / np.linalg.norm(expected, axis=1, keepdims=True), float32, 8)


def test_a_vector_of_zeros_is_normalized_to_zeros(ops: Ops, random: np.random.Generator) -> None:
    inputs = Inputs(ops, random, 48)
    pooled = ops.segment_pool("mean")(inputs.hidden, inputs.device_batch)
    zeros = ops.dense(np.zeros((16, 48), np.float32), np.zeros(16, np.float32), None)(pooled)
    assert not ops.to_host(ops.l2_normalize(zeros)).any()


def post_norm_block(
    random: np.random.Generator, num_heads: int, head_dim: int, intermediate_size: int, activation: str = "gelu"
) -> PostNormBlock:
    hidden_size = num_heads * head_dim

    def linear(rows: int, columns: int, activation: str | None = None) -> LinearWeights:
        return LinearWeights(weight(random, rows, columns), normal(random, rows) * np.float32(0.3), activation)

    def norm() -> NormWeights:
        return NormWeights(near_one(random, hidden_size), normal(random, hidden_size) * np.float32(0.3), EPS)

    return PostNormBlock(
        AttentionWeights(linear(3 * hidden_size, hidden_size), linear(hidden_size, hidden_size), num_heads, head_dim),
        norm(),
        MLPWeights(linear(intermediate_size, hidden_size, activation), linear(hidden_size, intermediate_size)),
        norm(),
    )


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
@pytest.mark.parametrize(("num_heads", "head_dim", "intermediate_size"), [(2, 12, 96), (3, 16, 100), (12, 32, 1536)])
def test_post_norm_block(
    ops: Ops, backend: Backend, random: np.random.Generator, activation: str, num_heads: int, head_dim: int, intermediate_size: int
) -> None:
    inputs = Inputs(ops, random, num_heads * head_dim)
    block = post_norm_block(random, num_heads, head_dim, intermediate_size, activation)
    got = ops.to_host(plan_block(ops, block)(inputs.hidden, inputs.device_batch))
    rows = token_rows(inputs.batch)
    assert_close(got[rows], plan_block(ReferenceOps(), block)(inputs.host, inputs.batch)[rows], backend, 48)


def test_a_block_that_is_not_recognized_runs_from_its_parts(ops: Ops, backend: Backend, random: np.random.Generator) -> None:
    class Fused(NamedTuple):
        block: PostNormBlock

    inputs, block = Inputs(ops, random, 48), post_norm_block(random, 3, 16, 100)
    assert ops.recognize(Fused(block)) is None and ops.recognize(None) is None
    got = ops.to_host(PostNormLayer(ops, block)(inputs.hidden, ops.to_device(inputs.batch)))
    rows = token_rows(inputs.batch)
    assert_close(got[rows], PostNormLayer(ReferenceOps(), block)(inputs.host, inputs.batch)[rows], backend, 48)


def test_program_gives_every_batch_its_own_result(ops: Ops, backend: Backend, random: np.random.Generator) -> None:
    inputs = Inputs(ops, random, 48)
    embed, pool = ops.embed(*inputs.tables, NormWeights(*inputs.norm, EPS)), ops.segment_pool("mean")  # type: ignore[arg-type, call-arg]
    layer = plan_block(ops, post_norm_block(random, 3, 16, 96))
    program = ops.program(lambda batch: pool(layer(embed(batch), batch), batch))
    batches = [random_batch(random, random.integers(1, 60, random.integers(1, 9)).tolist(), VOCABULARY, ops.row_block) for _ in range(12)]
    pending = [program.submit(batch) for batch in batches]
    results = [one.result() for one in pending]
    again = [program.submit(batch).result() for batch in batches]
    on_device = [ops.to_device(batch) for batch in batches]
    by_itself = [ops.to_host(pool(layer(embed(batch), batch), batch)) for batch in on_device]
    program.close()  # gives BLAS its threads back, with which a CPU's products have other bits
    for batch, result, repeated, expected in zip(batches, results, again, by_itself, strict=True):
        assert result.dtype == np.float32 and result.shape == (batch.num_sequences, 48)
        assert_close(result, real(expected), backend, 4)
        assert result.tobytes() == repeated.tobytes()
