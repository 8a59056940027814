"""Pooling of the CPU backend: every document, or every span of one, by itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from embermill.encoder.errors import ModelConfigError
from embermill.encoder.ops.base import POOLINGS
from embermill.encoder.pipeline.batching import PackedBatch

SUMMED_ROWS = 1024
"""Rows that are added one after another; of longer documents sums of so many are added, or rounding would be felt."""

Pool = Callable[[np.ndarray, PackedBatch], np.ndarray]


def pooling_named(kind: str) -> Pool:
    """(hidden_states [T, E], batch) to [B, E]. Raises ModelConfigError for a name that is none of POOLINGS."""
    if kind not in POOLINGS:
        raise ModelConfigError(f"pooling: expected one of {', '.join(POOLINGS)}, got {kind!r}")
    if kind in ("cls", "last"):
        return _first if kind == "cls" else _last
    return lambda hidden_states, batch: _reduced(kind, hidden_states, batch)


def _first(hidden_states: np.ndarray, batch: PackedBatch) -> np.ndarray:
    skipped = np.where(batch.lengths > batch.prompt_tokens, batch.prompt_tokens, 0)
    picked: np.ndarray = hidden_states[batch.cu_seqlens[:-1] + skipped]
    return picked


def _last(hidden_states: np.ndarray, batch: PackedBatch) -> np.ndarray:
    picked: np.ndarray = hidden_states[batch.cu_seqlens[:-1] + batch.lengths - 1]
    return picked


def mean_of_spans(hidden_states: np.ndarray, batch: PackedBatch) -> np.ndarray:
    """(hidden_states [T, E], batch with spans) to [S, E]."""
    assert batch.spans is not None, "a batch with spans"
    pooled = np.zeros((len(batch.spans), hidden_states.shape[1]), np.float32)
    for row, (start, end) in zip(pooled, batch.spans.tolist(), strict=True):
        if start < end:
            np.add.reduce(_summed(hidden_states[start:end]), axis=0, out=row)
    pooled /= np.maximum(batch.spans[:, 1] - batch.spans[:, 0], 1)[:, None].astype(np.float32)
    return pooled


def _summed(rows: np.ndarray) -> np.ndarray:
    """Of many rows the sums of SUMMED_ROWS each."""
    return rows if len(rows) <= SUMMED_ROWS else np.add.reduceat(rows, np.arange(0, len(rows), SUMMED_ROWS), axis=0)


def _reduced(kind: str, hidden_states: np.ndarray, batch: PackedBatch) -> np.ndarray:
    reduce = np.maximum.reduce if kind == "max" else np.add.reduce
    skipped = batch.prompt_tokens
    pooled = np.empty((batch.num_sequences, hidden_states.shape[1]), np.float32)
    for row, start, length in zip(pooled, batch.cu_seqlens[:-1], batch.lengths, strict=True):
        kept = hidden_states[start + skipped : start + length]
        if not len(kept):
            row[:] = 0
            continue
        if kind == "weightedmean":
            kept = kept * np.arange(skipped + 1, length + 1, dtype=np.float32)[:, None]
        reduce(kept if kind == "max" else _summed(kept), axis=0, out=row)
    counts = np.maximum(batch.lengths - skipped, 1)
    if kind == "mean":
        pooled /= counts[:, None].astype(np.float32)
    elif kind == "mean_sqrt_len_tokens":
        pooled /= np.sqrt(counts.astype(np.float32))[:, None]
    elif kind == "weightedmean":
        sums = [sum(range(skipped + 1, length + 1)) or 1 for length in batch.lengths.tolist()]
        pooled /= np.array(sums, np.float32)[:, None]
    return pooled
