"""Corpus files -> Arrow record batches: ids, texts, kept columns and what was refused, streamed; nothing holds a file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Refusal:
    """Rows that cannot be embedded, on their way to the quarantine.

    row: ordinal of the (first) row within the partition. first_row: 0-based row within the file, None for lines read by byte range.
    first_byte: offset of the line in the uncompressed text, None for Parquet. reason: one of quarantine.REASONS.
    """

    row: int
    row_count: int
    id: str | None
    file: str
    first_row: int | None
    first_byte: int | None
    reason: str
    error: str
    text_bytes: int | None


@dataclass(frozen=True)
class RowBatch:
    """Consecutive input rows of one partition.

    first_row: ordinal within the partition of the first input row this batch stands for; num_rows: how many, refused ones included.
    rows: [N] int64 ordinals of the rows that are here. ids [N], texts [N] (string, joined, valid UTF-8), kept: [N] each, in the plan's order.
    num_rows == N + sum(r.row_count for r in refused).
    """

    first_row: int
    num_rows: int
    rows: np.ndarray
    ids: pa.Array
    texts: pa.Array
    kept: tuple[pa.Array, ...]
    refused: tuple[Refusal, ...] = ()
