"""A whole post-norm layer of the CPU backend: the small operations' own pieces, over memory that is kept, with the biases where they cost least.

Queries get theirs inside attention. That of the keys is left out where keys are not turned: it moves all scores of a row alike, which softmax does
not see. That of the values is added behind attention instead, through the output projection: a document's weights sum to one. The two biases
before a LayerNorm are added in it.
"""

from __future__ import annotations

import numpy as np

from embermill.encoder.backends.cpu.attention import NumpyAttention
from embermill.encoder.backends.cpu.linear import NumpyGatedLinear, NumpyLinear
from embermill.encoder.backends.cpu.norm import NumpyLayerNorm
from embermill.encoder.backends.cpu.workspace import Workspace
from embermill.encoder.ops.blocks import AttentionWeights, GatedMLPWeights, LinearWeights, MergedWeight, MLPWeights, PostNormBlock
from embermill.encoder.pipeline.batching import PackedBatch

FEED_FORWARD_ROWS = 384
"""Rows whose intermediate values [rows, F] exist at a time, so that they stay in the L3 cache. A multiple of every row block."""


class NumpyLayer:
    """(hidden_states [T, E], batch) to a new array [T, E]. `products` are its own, for whoever has to know their shapes."""

    def __init__(self, block: PostNormBlock, workspace: Workspace) -> None:
        self.workspace = workspace
        attention, mlp = block.attention, block.mlp
        self.qkv = [NumpyLinear(part, None, None, workspace) for part in _parts(attention.qkv)]
        self.attention = _planned_attention(attention, workspace)
        self.attention_output = _product(attention.output, workspace)
        self.attention_norm = NumpyLayerNorm(*block.attention_norm, self._output_bias(attention))
        self.intermediate = _planned_mlp(mlp, workspace)
        self.output = _product(mlp.down, workspace)
        self.output_norm = NumpyLayerNorm(*block.mlp_norm, mlp.down.bias)
        inner = self.intermediate.products if isinstance(self.intermediate, NumpyGatedLinear) else (self.intermediate,)
        self.inner_columns = inner[0].weight.shape[1]
        self.products = (*self.qkv, self.attention_output, *inner, self.output)

    def _output_bias(self, attention: AttentionWeights) -> np.ndarray | None:
        """[E]: that of the output projection, and what it makes of the values' own."""
        if attention.qkv.bias is None:
            return attention.output.bias
        value_bias = attention.qkv.bias[2 * len(attention.qkv.bias) // 3 :]
        # Two rows, of which one is used: so [out, in] and [in, out] files give equal bits, as all products do (linear.py).
        carried: np.ndarray = self.attention_output(np.stack([value_bias, value_bias]))[0]
        return carried if attention.output.bias is None else attention.output.bias + carried

    def __call__(self, hidden_states: np.ndarray, batch: PackedBatch) -> np.ndarray:
        rows, hidden_size = hidden_states.shape
        qkv = self.workspace.array("qkv", rows, 3 * hidden_size)
        context = self.workspace.array("context", rows, hidden_size)
        result = np.empty_like(hidden_states)
        first = 0
        for product in self.qkv:
            columns = product.weight.shape[1]
            product.into(qkv[:, first : first + columns], hidden_states)
            first += columns
        self.attention.into(context, qkv, batch)
        self.attention_output.into(result, context)
        self.attention_norm.into(result, result, hidden_states)
        for first in range(0, rows, FEED_FORWARD_ROWS):
            self._feed_forward(result[first : first + FEED_FORWARD_ROWS])
        return result

    def _feed_forward(self, rows: np.ndarray) -> None:
        """Replaces rows [at most FEED_FORWARD_ROWS, E] by what follows from them."""
        inner = self.workspace.array("intermediate", len(rows), self.inner_columns)
        outer = self.workspace.array("output", *rows.shape)
        self.intermediate.into(inner, rows)
        self.output.into(outer, inner)
        self.output_norm.into(rows, outer, rows)


def _parts(weights: LinearWeights) -> tuple[np.ndarray, ...]:
    return weights.weight.parts if isinstance(weights.weight, MergedWeight) else (weights.weight,)


def _product(weights: LinearWeights, workspace: Workspace) -> NumpyLinear:
    """Without its bias."""
    return NumpyLinear(np.asarray(weights.weight), None, None, workspace)


def _planned_attention(weights: AttentionWeights, workspace: Workspace) -> NumpyAttention:
    query_bias, key_bias = (None, None) if weights.qkv.bias is None else np.split(weights.qkv.bias, 3)[:2]
    turned_key_bias = None if weights.rotary is None else key_bias
    return NumpyAttention(
        weights.num_heads, weights.head_dim, workspace, query_bias, turned_key_bias, rotary=weights.rotary, window=weights.window, bias=weights.bias
    )


def _planned_mlp(weights: MLPWeights | GatedMLPWeights, workspace: Workspace) -> NumpyLinear | NumpyGatedLinear:
    up = weights.up
    if not isinstance(weights, GatedMLPWeights):
        return NumpyLinear(np.asarray(up.weight), up.bias, up.activation, workspace)
    gate = weights.gate
    return NumpyGatedLinear(np.asarray(gate.weight), np.asarray(up.weight), gate.bias, up.bias, gate.activation, workspace)
