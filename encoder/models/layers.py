"""The planned parts of which a model's forward pass is made. Each is planned from what it is described by (ops/blocks.py) and reads like its equation.

Their parameters are read by name: `linear`, `norm` and `merged` make descriptions of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from embermill.encoder.ops.base import Activations, Block, DeviceBatch, Linear, Ops
from embermill.encoder.ops.blocks import AttentionWeights, GatedMLPWeights, LinearWeights, MergedWeight, MLPWeights, NormWeights, PostNormBlock, PreNormBlock
from embermill.encoder.weights.loader import Parameters

T = TypeVar("T")

READ_AHEAD = 2
MERGE_BYTES = 4 << 20
"""Up to here weights are merged at once: the copy costs little and one wide product is a little faster than several. Above, who needs it merges."""


def linear(parameters: Parameters, name: str, activation: str | None = None) -> LinearWeights:
    """`name`.weight [out, in] and, where the model has one, `name`.bias [out]."""
    return LinearWeights(parameters[f"{name}.weight"], parameters.get(f"{name}.bias"), activation)


def norm(parameters: Parameters, name: str, eps: float) -> NormWeights:
    """`name`.weight [E] and, where the model has one, `name`.bias [E]."""
    return NormWeights(parameters[f"{name}.weight"], parameters.get(f"{name}.bias"), eps)


def merged(parameters: Parameters, names: Sequence[str]) -> LinearWeights:
    """Several products of the same input as one: [sum of outs, in], in the layout of its parts, and [sum of outs]."""
    parts = [linear(parameters, name) for name in names]
    weight = MergedWeight(tuple(np.asarray(part.weight) for part in parts))
    biases = [part.bias for part in parts if part.bias is not None]
    small = sum(part.nbytes for part in weight.parts) <= MERGE_BYTES
    return LinearWeights(np.asarray(weight) if small else weight, np.concatenate(biases) if biases else None)


def halves(weights: LinearWeights) -> tuple[LinearWeights, LinearWeights]:
    """The first and the second half of a product's outputs: a gated unit whose two products are stored as one."""
    weight, bias = np.asarray(weights.weight), weights.bias
    middle = len(weight) // 2
    first, second = (None, None) if bias is None else (bias[:middle], bias[middle:])
    return LinearWeights(weight[:middle], first), LinearWeights(weight[middle:], second)


def read_ahead(read: Callable[[int], T], count: int) -> Iterator[T]:
    """Layers 0 to count - 1, the next two being read while one is planned: merging and converting copy memory, which two threads do faster than one."""
    with ThreadPoolExecutor(READ_AHEAD, thread_name_prefix="encoder-load") as pool:
        reading: deque[Future[T]] = deque()
        for layer in range(count):
            reading.append(pool.submit(read, layer))
            if len(reading) > READ_AHEAD:
                yield reading.popleft().result()
        while reading:
            yield reading.popleft().result()


def plan_linear(ops: Ops, weights: LinearWeights) -> Linear:
    """x [T, K] to activation(x @ weight.T + bias) [T, N]."""
    return ops.linear(np.asarray(weights.weight), weights.bias, weights.activation)


def plan_linear_sum_norm(ops: Ops, weights: LinearWeights, norm: NormWeights) -> Callable[[Activations, Activations], tuple[Activations, Activations]]:
    """(x [T, K], residual [T, E]) to (y, LayerNorm(y)) with y = x @ weight.T + bias + residual."""
    return ops.linear_sum_norm(np.asarray(weights.weight), weights.bias, *norm)


def plan_linear_norm(ops: Ops, weights: LinearWeights, norm: NormWeights) -> Callable[[Activations, Activations], Activations]:
    """(x [T, K], residual [T, E]) to LayerNorm(x @ weight.T + bias + residual)."""
    return ops.linear_norm(np.asarray(weights.weight), weights.bias, *norm)


class Attention:
    """softmax(q k^T / sqrt(D)) v inside each document, [T, E] to [T, E], without the product that follows."""

    def __init__(self, ops: Ops, weights: AttentionWeights) -> None:
        qkv = np.asarray(weights.qkv.weight), weights.qkv.bias
        self.attend = ops.qkv_attention(*qkv, weights.num_heads, weights.head_dim, rotary=weights.rotary, window=weights.window, bias=weights.bias)

    def __call__(self, x: Activations, batch: DeviceBatch) -> Activations:
        return self.attend(x, batch)


class MLP:
    """activation(W x + b): [T, E] to [T, F], without the product that follows."""

    def __init__(self, ops: Ops, weights: MLPWeights) -> None:
        self.up = plan_linear(ops, weights.up)

    def __call__(self, x: Activations) -> Activations:
        return self.up(x)


class GatedMLP:
    """activation(W_gate x) * W_up x: [T, E] to [T, F], without the product that follows."""

    def __init__(self, ops: Ops, weights: GatedMLPWeights) -> None:
        gate, up = weights.gate, weights.up
        self.gated = ops.glu(np.asarray(gate.weight), np.asarray(up.weight), gate.bias, up.bias, gate.activation or "silu")

    def __call__(self, x: Activations) -> Activations:
        return self.gated(x)


def plan_mlp(ops: Ops, weights: MLPWeights | GatedMLPWeights) -> MLP | GatedMLP:
    return GatedMLP(ops, weights) if isinstance(weights, GatedMLPWeights) else MLP(ops, weights)


class PostNormLayer:
    """x = LayerNorm(x + W_o attention(x)); x = LayerNorm(x + W_down mlp(x))."""

    def __init__(self, ops: Ops, block: PostNormBlock) -> None:
        self.attention = Attention(ops, block.attention)
        self.add_attention = plan_linear_norm(ops, block.attention.output, block.attention_norm)
        self.mlp = plan_mlp(ops, block.mlp)
        self.add_mlp = plan_linear_norm(ops, block.mlp.down, block.mlp_norm)

    def __call__(self, x: Activations, batch: DeviceBatch) -> Activations:
        x = self.add_attention(self.attention(x, batch), x)
        return self.add_mlp(self.mlp(x), x)


def plan_block(ops: Ops, block: PostNormBlock) -> Block:
    """A whole layer, (x [T, E], batch) to [T, E]: as one where the backend recognises it, else from its parts."""
    return ops.recognize(block) or PostNormLayer(ops, block)


class PostNormLayers:
    """Post-norm layers, one after another. describe(n): the n-th, whose weights are read while the one before is planned."""

    def __init__(self, ops: Ops, describe: Callable[[int], PostNormBlock], count: int) -> None:
        self.layers = [plan_block(ops, block) for block in read_ahead(describe, count)]

    def __call__(self, x: Activations, batch: DeviceBatch) -> Activations:
        for layer in self.layers:
            x = layer(x, batch)
        return x


class PreNormLayers:
    """x = x + W_o attention(LayerNorm(x)); x = x + W_down mlp(LayerNorm(x)), layer after layer, and a last LayerNorm.

    Each sum is made together with the LayerNorm that comes next. The first block has no attention_norm: the embeddings are normalised already.
    """

    def __init__(self, ops: Ops, blocks: Iterable[PreNormBlock], final_norm: NormWeights) -> None:
        self.layers: list[PreNormLayer] = []
        self.add_mlp: list[Callable[[Activations, Activations], tuple[Activations, Activations]]] = []
        down: LinearWeights | None = None  # of the block before, which waits for the LayerNorm that comes next
        for block in blocks:
            if down is not None:
                assert block.attention_norm is not None, "only the first layer's attention goes without a LayerNorm"
                self.add_mlp.append(plan_linear_sum_norm(ops, down, block.attention_norm))
            self.layers.append(PreNormLayer(ops, block))
            down = block.mlp.down
        assert down is not None, "at least one layer"
        self.add_last_mlp = plan_linear_norm(ops, down, final_norm)

    def __call__(self, x: Activations, batch: DeviceBatch) -> Activations:
        normed = x
        for layer, add_mlp in zip(self.layers, self.add_mlp, strict=False):
            x, normed = add_mlp(*layer(normed, x, batch))
        return self.add_last_mlp(*self.layers[-1](normed, x, batch))


class PreNormLayer:
    """(LayerNorm(x), x, batch) to (mlp(LayerNorm(y)), y) with y = x + W_o attention(LayerNorm(x)); PreNormLayers joins layers."""

    def __init__(self, ops: Ops, block: PreNormBlock) -> None:
        self.attention = Attention(ops, block.attention)
        self.add_attention = plan_linear_sum_norm(ops, block.attention.output, block.mlp_norm)
        self.mlp = plan_mlp(ops, block.mlp)

    def __call__(self, normed: Activations, x: Activations, batch: DeviceBatch) -> tuple[Activations, Activations]:
        x, normed = self.add_attention(self.attention(normed, batch), x)
        return self.mlp(normed), x
