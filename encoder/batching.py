"""Packed batches: documents one after another under a token budget, with no padding to a common length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PackedBatch:
    """Documents laid one after another.

    input_ids: [T] int32. position_ids: [T] int32. cu_seqlens: [B+1] int32, row at which each document starts, then T.
    lengths: [B] int32, tokens of each document. order: [B] int64, where each document stood in the caller's input.
    On a GPU lengths == diff(cu_seqlens). On a CPU a document starts at a multiple of the ops' `row_block` and the rows between its end
    and the next start are filler (id 0, position 0) that no attention, pooling or count sees.
    """

    input_ids: np.ndarray
    position_ids: np.ndarray
    cu_seqlens: np.ndarray
    lengths: np.ndarray
    order: np.ndarray

    @property
    def num_sequences(self) -> int:
        return len(self.lengths)

    @property
    def num_rows(self) -> int:
        """T, filler included."""
        return len(self.input_ids)

    @property
    def num_tokens(self) -> int:
        return int(self.lengths.sum())

    @property
    def max_seqlen(self) -> int:
        return int(self.lengths.max(initial=0))
