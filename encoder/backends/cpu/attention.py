"""Attention of the CPU backend: one document at a time, so that its bits depend on that document alone.

scores [H, L, L] = q k^T / sqrt(D); weights = exp(scores); context = weights v / sums of weights. The usual subtraction of each row's largest score
is left out where no score comes near the limits of exp in float32: it would change nothing but cost two passes.
With a window, and where it is very long, a document is cut into bands of queries, each with the keys that it can see.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from embermill.encoder.backends.cpu.positions import DistanceBias, NumpyRotary, square
from embermill.encoder.backends.cpu.workspace import Workspace
from embermill.encoder.ops.rotary import Rotary
from embermill.encoder.pipeline.batching import PackedBatch

SAFE_SCORE = 60.0
"""exp(60) times any number of tokens is still finite in float32, and exp(-60) still a normal number."""
SCORES_BYTES = 280_000
"""The scores of as many heads as this holds are worked on together: they stay in the L2 cache between the products and exp."""
BAND_ROWS = 128
"""Queries of one band of a windowed document."""
LONG_DOCUMENT, LONG_BAND_ROWS = 4096, 512
"""Tokens above which a document without a window is cut into bands too, of so many queries: all scores of a head at once would take 256 MB at 8,192."""


class NumpyAttention:
    """query_bias, key_bias: [E], added here; that of values is the caller's to have added. rotary, window, bias: as in `Ops.attention`."""

    def __init__(
        self,
        num_heads: int,
        head_dim: int,
        workspace: Workspace,
        query_bias: np.ndarray | None = None,
        key_bias: np.ndarray | None = None,
        *,
        rotary: Rotary | None = None,
        window: int | None = None,
        bias: np.ndarray | None = None,
    ) -> None:
        self.num_heads, self.head_dim, self.workspace, self.window = num_heads, head_dim, workspace, window
        self.scale = np.array(head_dim**-0.5, np.float32)
        self.query_bias = None if query_bias is None else (np.asarray(query_bias, np.float32) * self.scale).reshape(num_heads, head_dim)
        self.key_bias = None if key_bias is None else np.asarray(key_bias, np.float32).reshape(num_heads, head_dim)
        self.rotary = None if rotary is None else NumpyRotary(rotary, workspace)
        self.bias = None if bias is None else DistanceBias(bias)

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
        query, key = self._queries_and_keys(heads)
        queries, keys, values = query.transpose(1, 0, 2), key.transpose(1, 2, 0), heads[:, 2].transpose(1, 0, 2)
        by_distance = None if self.bias is None else self.bias.by_distance(length)
        for rows, columns in self._bands(length):
            together = max(1, SCORES_BYTES // (4 * (rows.stop - rows.start) * (columns.stop - columns.start)))
            outside = self._outside(rows, columns)
            for first in range(0, self.num_heads, together):
                some = slice(first, first + together)
                added = None if by_distance is None else square(by_distance[some], rows, columns)
                self._heads(queries[some, rows], keys[some, :, columns], values[some, columns], result[rows, some], added, outside)

    def _queries_and_keys(self, heads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """heads: [L, 3, H, D]. Returns two [L, H, D]: queries scaled, both with their biases and turned."""
        shape = len(heads), self.num_heads, self.head_dim
        query, key = self.workspace.array("queries", *shape), heads[:, 1]
        np.multiply(heads[:, 0], self.scale, out=query)
        if self.query_bias is not None:
            query += self.query_bias
        if self.key_bias is not None:
            key = np.add(key, self.key_bias, out=self.workspace.array("keys", *shape))
        if self.rotary is not None:
            turned = self.workspace.array("turned queries", *shape), self.workspace.array("turned keys", *shape)
            self.rotary.turn(query, turned[0])
            self.rotary.turn(key, turned[1])
            return turned
        return query, key

    def _bands(self, length: int) -> Iterator[tuple[slice, slice]]:
        """Queries and the keys that they may see: all of a document at once, or a band of queries at a time."""
        reach = length if self.window is None else self.window
        band, whole = (LONG_BAND_ROWS, LONG_DOCUMENT) if self.window is None else (BAND_ROWS, max(BAND_ROWS, reach + 1))
        if length <= whole:
            band = length
        for first in range(0, length, band):
            last = min(length, first + band)
            yield slice(first, last), slice(max(0, first - reach), min(length, last + reach))

    def _outside(self, rows: slice, columns: slice) -> np.ndarray | None:
        """[queries, keys]: True where the distance is more than the window; None where it nowhere is."""
        if self.window is None or max(rows.stop - 1 - columns.start, columns.stop - 1 - rows.start) <= self.window:
            return None
        distance = np.arange(columns.start, columns.stop) - np.arange(rows.start, rows.stop)[:, None]
        outside: np.ndarray = np.abs(distance) > self.window
        return outside

    def _heads(
        self, queries: np.ndarray, keys: np.ndarray, values: np.ndarray, result: np.ndarray, added: np.ndarray | None, outside: np.ndarray | None
    ) -> None:
        """queries: [h, n, D], keys: [h, D, m], values: [h, m, D], result: [n, h, D]; added: [h, n, m]; outside: [n, m]."""
        num_heads, num_queries, num_keys = len(queries), queries.shape[1], values.shape[1]
        scores = self.workspace.array("scores", num_heads, num_queries, num_keys)
        sums = self.workspace.array("sums", num_heads, num_queries, 1)
        ones = np.ones(num_keys, np.float32)
        np.matmul(queries, keys, out=scores)
        if added is not None:
            scores += added
        safe = scores.max() < SAFE_SCORE and scores.min() > -SAFE_SCORE
        if outside is not None:
            scores[:, outside] = -np.inf
        if not safe:
            scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        np.matmul(scores.reshape(-1, num_keys), ones, out=sums.reshape(-1))  # a third of the time of a sum over the last axis
        np.matmul(scores, values, out=result.transpose(1, 0, 2))
        result /= sums.transpose(1, 0, 2)
