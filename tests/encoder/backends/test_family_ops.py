"""The operations that families beside BERT need, on every backend, against ops/reference.py: positions inside attention, gates, pre-norm, poolings, vectors."""

from __future__ import annotations

import numpy as np
import pytest

from embermill.encoder.models.layers import PreNormLayers, plan_block
from embermill.encoder.ops.base import POOLINGS, Ops
from embermill.encoder.ops.blocks import AttentionWeights, GatedMLPWeights, LinearWeights, NormWeights, PostNormBlock, PreNormBlock
from embermill.encoder.ops.reference import ReferenceOps
from embermill.encoder.ops.rotary import DynamicNtk, Rotary, inverse_frequencies
from tests.encoder.backends.each_backend import Backend
from tests.encoder.backends.test_ops import EPS, Inputs, assert_close, backend, near_one, normal, ops, random, real, token_rows, weight

__all__ = ["backend", "ops", "random"]  # fixtures

REFERENCE = ReferenceOps()
LENGTHS = [1, 2, 17, 63, 64, 65, 66, 90, 91, 92, 129, 150, 300]


def rotary(head_dim: int, theta: float = 100.0, dynamic: DynamicNtk | None = None) -> Rotary:
    return Rotary(inverse_frequencies(theta, head_dim), dynamic)


POSITIONS = {
    "rotary": lambda random, heads, dim: {"rotary": rotary(dim)},
    "rotary with dynamic NTK": lambda random, heads, dim: {"rotary": rotary(dim, dynamic=DynamicNtk(1000.0, 2.0, 64))},
    "a window": lambda random, heads, dim: {"window": 64},
    "a narrow window": lambda random, heads, dim: {"window": 3},
    "a bias": lambda random, heads, dim: {"bias": normal(random, heads, 2 * 91 + 1)},
    "a bias that reaches no neighbour": lambda random, heads, dim: {"bias": normal(random, heads, 1)},
    "all of them": lambda random, heads, dim: {"rotary": rotary(dim, 10000.0), "window": 40, "bias": normal(random, heads, 2 * 20 + 1)},
}


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize(("num_heads", "head_dim"), [(2, 12), (3, 32), (2, 64)])
def test_attention_with_positions(ops: Ops, backend: Backend, random: np.random.Generator, positions: str, num_heads: int, head_dim: int) -> None:
    hidden_size, arguments = num_heads * head_dim, POSITIONS[positions](random, num_heads, head_dim)
    inputs = Inputs(ops, random, hidden_size, LENGTHS)
    matrix = weight(random, 3 * hidden_size, hidden_size)
    matrix[:hidden_size] *= np.float32(2.0)
    qkv = ops.linear(matrix, normal(random, 3 * hidden_size))(inputs.hidden)
    expected = REFERENCE.attention(num_heads, head_dim, **arguments)(real(ops.to_host(qkv)), inputs.batch)  # type: ignore[arg-type]
    got = ops.to_host(ops.attention(num_heads, head_dim, **arguments)(qkv, inputs.device_batch))  # type: ignore[arg-type]
    rows = token_rows(inputs.batch)
    assert_close(got[rows], expected[rows], backend, 64)


def test_sharp_scores_inside_a_window(ops: Ops, backend: Backend, random: np.random.Generator) -> None:
    """The largest score of a row may lie outside its window: it must not be the one that is taken off."""
    inputs = Inputs(ops, random, 48, LENGTHS)
    matrix = weight(random, 144, 48)
    matrix[:48] *= np.float32(60.0)
    qkv = ops.linear(matrix, None)(inputs.hidden)
    attend = ops.attention(3, 16, window=5)
    expected = REFERENCE.attention(3, 16, window=5)(real(ops.to_host(qkv)), inputs.batch)
    rows = token_rows(inputs.batch)
    assert_close(ops.to_host(attend(qkv, inputs.device_batch))[rows], expected[rows], backend, 24 * 60)


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "silu"])
@pytest.mark.parametrize("with_bias", [False, True])
def test_glu(ops: Ops, backend: Backend, random: np.random.Generator, activation: str, with_bias: bool) -> None:
    inputs = Inputs(ops, random, 48)
    gate, up = weight(random, 72, 48), weight(random, 72, 48)
    biases = (normal(random, 72), normal(random, 72)) if with_bias else (None, None)
    gated = ops.glu(gate, up, *biases, activation)  # type: ignore[call-arg]
    expected = REFERENCE.glu(gate, up, *biases, activation)(inputs.host)  # type: ignore[call-arg]
    rows = token_rows(inputs.batch)
    assert_close(ops.to_host(gated(inputs.hidden))[rows], expected[rows], backend, 24)


@pytest.mark.parametrize("with_beta", [False, True])
def test_sum_and_layer_norm(ops: Ops, backend: Backend, random: np.random.Generator, with_beta: bool) -> None:
    inputs = Inputs(ops, random, 48)
    x = ops.linear(weight(random, 48, 48), None)(inputs.hidden)
    gamma, beta = near_one(random, 48), normal(random, 48) if with_beta else None
    expected = REFERENCE.sum_and_layer_norm(gamma, beta, EPS)(real(ops.to_host(x)), inputs.host)
    found = ops.sum_and_layer_norm(gamma, beta, EPS)(x, inputs.hidden)
    rows = token_rows(inputs.batch)
    for got, wanted in zip(found, expected, strict=True):
        assert_close(ops.to_host(got)[rows], wanted[rows], backend, 16)


@pytest.mark.parametrize("parts", ["words", "words and positions", "words and types", "without a norm", "without a beta"])
def test_embed_without_some_of_its_parts(ops: Ops, backend: Backend, random: np.random.Generator, parts: str) -> None:
    inputs = Inputs(ops, random, 48)
    word, position, token_type = inputs.tables
    norm = None if parts == "without a norm" else NormWeights(inputs.norm[0], None if parts == "without a beta" else inputs.norm[1], EPS)
    arguments = word, position if "words" != parts != "words and types" else None, token_type if "types" in parts else None, norm
    offset = 2 if parts == "words and positions" else 0
    embed = ops.embed(*arguments, position_offset=offset)
    expected = REFERENCE.embed(*arguments, position_offset=offset)(inputs.batch)
    rows = token_rows(inputs.batch)
    assert_close(ops.to_host(embed(inputs.device_batch))[rows], expected[rows], backend, 12)


@pytest.mark.parametrize("kind", POOLINGS)
@pytest.mark.parametrize("prompt_tokens", [0, 1])
def test_every_pooling(ops: Ops, backend: Backend, random: np.random.Generator, kind: str, prompt_tokens: int) -> None:
    inputs = Inputs(ops, random, 48, [length for length in LENGTHS if length > 1])
    batch = inputs.batch._replace(prompt_tokens=prompt_tokens)
    pool, device_batch = ops.segment_pool(kind), ops.to_device(batch)
    float32 = Backend(backend.module, "float32", 6e-8)
    assert_close(ops.to_host(pool(inputs.hidden, device_batch)), REFERENCE.segment_pool(kind)(inputs.host, batch), float32, 300)


def test_the_mean_over_spans(ops: Ops, backend: Backend, random: np.random.Generator) -> None:
    inputs = Inputs(ops, random, 48, LENGTHS)
    starts, lengths = inputs.batch.cu_seqlens[: inputs.batch.num_sequences], inputs.batch.lengths
    cut = (random.random((2, len(lengths))) * (lengths + 1)).astype(np.int32)
    parts = [(starts, starts + lengths), (starts + cut.min(0), starts + cut.max(0)), (starts + lengths - 1, starts + lengths), (starts, starts)]
    batch = inputs.batch._replace(spans=np.concatenate([np.stack(each, 1) for each in parts]).astype(np.int32))
    got = ops.to_host(ops.span_pool()(inputs.hidden, ops.to_device(batch)))
    assert_close(got, REFERENCE.span_pool()(inputs.host, batch), Backend(backend.module, "float32", 6e-8), 300)
    whole = ops.to_host(ops.segment_pool("mean")(inputs.hidden, inputs.device_batch))
    assert got[: len(lengths)].tobytes() == whole.tobytes() and not got[-len(lengths) :].any()


@pytest.mark.parametrize("activation", [None, "tanh", "relu", "gelu"])
def test_dense_activations_and_layer_norm_of_vectors(ops: Ops, backend: Backend, random: np.random.Generator, activation: str | None) -> None:
    inputs = Inputs(ops, random, 48)
    pooled = ops.segment_pool("mean")(inputs.hidden, inputs.device_batch)
    matrix, bias = weight(random, 32, 48), normal(random, 32)
    dense = ops.dense(matrix, bias, activation)(pooled)
    float32 = Backend(backend.module, "float32", 6e-8)
    assert_close(ops.to_host(dense), REFERENCE.dense(matrix, bias, activation)(real(ops.to_host(pooled))), float32, 24)
    norm = ops.layer_norm(1e-5)
    assert_close(ops.to_host(norm(dense)), REFERENCE.layer_norm(1e-5)(real(ops.to_host(dense))), float32, 24)


class Parts:
    """Random descriptions for blocks of two heads of 12 or so, with or without biases."""

    def __init__(self, random: np.random.Generator, with_bias: bool) -> None:
        self.random, self.with_bias = random, with_bias

    def linear(self, rows: int, columns: int, activation: str | None = None) -> LinearWeights:
        return LinearWeights(weight(self.random, rows, columns), normal(self.random, rows) * np.float32(0.3) if self.with_bias else None, activation)

    def norm(self, size: int) -> NormWeights:
        return NormWeights(near_one(self.random, size), normal(self.random, size) * np.float32(0.3) if self.with_bias else None, EPS)

    def attention(self, heads: int, dim: int, window: int | None = None) -> AttentionWeights:
        size = heads * dim
        return AttentionWeights(self.linear(3 * size, size), self.linear(size, size), heads, dim, rotary(dim), window)

    def gated(self, size: int, inner: int, activation: str) -> GatedMLPWeights:
        return GatedMLPWeights(self.linear(inner, size, activation), self.linear(inner, size), self.linear(size, inner))


@pytest.mark.parametrize("with_bias", [False, True])
def test_gated_post_norm_block(ops: Ops, backend: Backend, random: np.random.Generator, with_bias: bool) -> None:
    inputs, parts = Inputs(ops, random, 48, LENGTHS), Parts(random, with_bias)
    block = PostNormBlock(parts.attention(3, 16), parts.norm(48), parts.gated(48, 76, "silu"), parts.norm(48))
    planned = plan_block(ops, block)
    rows = token_rows(inputs.batch)
    got = ops.to_host(planned(inputs.hidden, ops.to_device(inputs.batch)))
    assert_close(got[rows], plan_block(REFERENCE, block)(inputs.host, inputs.batch)[rows], backend, 96)


@pytest.mark.parametrize("with_bias", [False, True])
def test_pre_norm_layers(ops: Ops, backend: Backend, random: np.random.Generator, with_bias: bool) -> None:
    inputs, parts = Inputs(ops, random, 48, LENGTHS), Parts(random, with_bias)
    blocks = [
        PreNormBlock(parts.norm(48) if layer else None, parts.attention(3, 16, None if layer % 3 == 0 else 7), parts.norm(48), parts.gated(48, 76, "gelu"))
        for layer in range(4)
    ]
    final = parts.norm(48)
    planned = PreNormLayers(ops, blocks, final)
    rows = token_rows(inputs.batch)
    got = ops.to_host(planned(inputs.hidden, ops.to_device(inputs.batch)))
    assert_close(got[rows], PreNormLayers(REFERENCE, blocks, final)(inputs.host, inputs.batch)[rows], backend, 192)
