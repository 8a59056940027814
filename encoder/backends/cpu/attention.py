"""Attention of the CPU backend: one document at a time, so that its bits depend on that document alone.

scores [H, L, L] = q k^T / sqrt(D); weights = exp(scores); context = weights v / sums of weights. The usual subtraction of each row's largest score
is left out where no score comes near the limits of exp in float32: it would change nothing but cost two passes.
"""

from __future__ import annotations

import numpy as np

from embermill.encoder.backends.cpu.workspace import Workspace
from embermill.encoder.pipeline.batching import PackedBatch

SAFE_SCORE = 60.0
"""exp(60) times any number of tokens is still finite in float32, and exp(-60) still a normal number."""
SCORES_BYTES = 280_000
"""The scores of as many heads as this holds are worked on together: they stay in the L2 cache between the products and exp."""


class NumpyAttention:
    """query_bias: [E], added to the queries here; those of keys and values are the caller's to have added, or to have folded away."""

    def __init__(self, num_heads: int, head_dim: int, workspace: Workspace, query_bias: np.ndarray | None = None) -> None:
        self.num_heads, self.head_dim, self.workspace = num_heads, head_dim, workspace
        self.scale = np.array(head_dim**-0.5, np.float32)
        self.query_bias = None if query_bias is None else (np.asarray(query_bias, np.float32) * self.scale).reshape(num_heads, head_dim)

    def __call__(self, qkv: np.ndarray, batch: PackedBatch) -> np.ndarray:
        """qkv: [T, 3E] to a new array [T, E]."""
        context = np.empty((len(qkv), self.num_heads * self.head_dim), np.float32)
        self.into(context, qkv, batch)
        return context

    def into(self, context: np.ndarray, qkv: np.ndarray, batch: PackedBatch) -> None:
        """The same into context [T, E]. Filler rows are set to 0: whatever stood there could be NaN, which makes products slow on some processors."""
        if batch.num_tokens < len(context):
            context[:] = 0
        heads = qkv.reshape(len(qkv), 3, self.num_heads, self.head_dim)
        results = context.reshape(len(qkv), self.num_heads, self.head_dim)
        for start, length in zip(batch.cu_seqlens.tolist(), batch.lengths.tolist(), strict=False):
            self._document(heads[start : start + length], results[start : start + length])

    def _document(self, heads: np.ndarray, result: np.ndarray) -> None:
        """heads: [L, 3, H, D], result: [L, H, D]."""
        length = len(heads)
        query = self.workspace.array("queries", length, self.num_heads, self.head_dim)
        np.multiply(heads[:, 0], self.scale, out=query)
        if self.query_bias is not None:
            query += self.query_bias
        queries, keys, values = query.transpose(1, 0, 2), heads[:, 1].transpose(1, 2, 0), heads[:, 2].transpose(1, 0, 2)
        together = max(1, SCORES_BYTES // (4 * length * length))
        for first in range(0, self.num_heads, together):
            some = slice(first, first + together)
            self._heads(queries[some], keys[some], values[some], result[:, some])

    def _heads(self, queries: np.ndarray, keys: np.ndarray, values: np.ndarray, result: np.ndarray) -> None:
        """queries, values: [h, L, D], keys: [h, D, L], result: [L, h, D]."""
        num_heads, length, _ = queries.shape
        scores = self.workspace.array("scores", num_heads, length, length)
        sums = self.workspace.array("sums", num_heads, length, 1)
        ones = np.ones(length, np.float32)
        np.matmul(queries, keys, out=scores)
        if not (scores.max() < SAFE_SCORE and scores.min() > -SAFE_SCORE):
            scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        np.matmul(scores.reshape(-1, length), ones, out=sums.reshape(-1))  # a third of the time of a sum over the last axis
        np.matmul(scores, values, out=result.transpose(1, 0, 2))
        result /= sums.transpose(1, 0, 2)
