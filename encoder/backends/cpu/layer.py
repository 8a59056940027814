"""A whole encoder layer of the CPU backend: the small operations' own pieces, over memory that is kept, with the biases where they cost least.

Queries get theirs inside attention. That of the keys is left out: it moves all scores of a row alike, which softmax does not see. That of the
values is added behind attention instead, through the output projection: a document's weights sum to one. The two biases before a LayerNorm are
added in it.
"""

from __future__ import annotations

import numpy as np

from embermill.encoder.backends.cpu.attention import NumpyAttention
from embermill.encoder.backends.cpu.linear import NumpyLinear
from embermill.encoder.backends.cpu.norm import NumpyLayerNorm
from embermill.encoder.backends.cpu.workspace import Workspace
from embermill.encoder.ops.base import LayerShape, LayerWeights, MergedWeight
from embermill.encoder.pipeline.batching import PackedBatch

FEED_FORWARD_ROWS = 384
"""Rows whose intermediate values [rows, F] exist at a time, so that they stay in the L3 cache. A multiple of every row block."""


class NumpyLayer:
    """(hidden_states [T, E], batch) to a new array [T, E]. `products` are its own, for whoever has to know their shapes."""

    def __init__(self, weights: LayerWeights, shape: LayerShape, workspace: Workspace) -> None:
        hidden_size = weights.qkv.shape[1]
        query_bias, value_bias = weights.qkv_bias[:hidden_size], weights.qkv_bias[2 * hidden_size :]
        self.workspace = workspace
        parts = weights.qkv.parts if isinstance(weights.qkv, MergedWeight) else (weights.qkv,)
        self.qkv = [NumpyLinear(part, None, None, workspace) for part in parts]
        self.attention = NumpyAttention(shape.num_heads, shape.head_dim, workspace, query_bias)
        self.attention_output = NumpyLinear(weights.attention_output, None, None, workspace)
        # Two rows, of which one is used: so [out, in] and [in, out] files give equal bits, as all products do (numpy_linear.py).
        output_bias = weights.attention_output_bias + self.attention_output(np.stack([value_bias, value_bias]))[0]
        self.attention_norm = NumpyLayerNorm(*weights.attention_norm, shape.layer_norm_eps, output_bias)
        self.intermediate = NumpyLinear(weights.intermediate, weights.intermediate_bias, shape.activation, workspace)
        self.output = NumpyLinear(weights.output, None, None, workspace)
        self.output_norm = NumpyLayerNorm(*weights.output_norm, shape.layer_norm_eps, weights.output_bias)
        self.products = (*self.qkv, self.attention_output, self.intermediate, self.output)

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
        inner = self.workspace.array("intermediate", len(rows), self.intermediate.weight.shape[1])
        outer = self.workspace.array("output", *rows.shape)
        self.intermediate.into(inner, rows)
        self.output.into(outer, inner)
        self.output_norm.into(rows, outer, rows)
