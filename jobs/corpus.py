"""Corpus files -> Arrow record batches: ids, texts, kept columns and what was refused, streamed; nothing holds a file.

    corpus_rows.py      RowBatch, Refusal, RowSchema; how rows are joined and judged
    corpus_columns.py   a file's columns fitted to the pinned schema (on_schema_drift)
    corpus_parquet.py   corpus_lines.py   corpus_text.py   corpus_jsonl.py   corpus_csv.py
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from jobs.corpus_parquet import read_parquet
from jobs.corpus_rows import Fault, RawRows, Refusal, RefusedRange, RowBatch, RowSchema, judge
from jobs.partition import Partition, Segment
from jobs.storage import open_input

__all__ = ["Refusal", "RowBatch", "RowSchema", "read_rows"]

BATCH_ROWS = 16_384
BATCH_BYTES = 4 << 20


def read_rows(partition: Partition, schema: RowSchema, *, batch_rows: int = BATCH_ROWS, batch_bytes: int = BATCH_BYTES) -> Iterator[RowBatch]:
    """Every row of the partition in order, in batches of at most batch_rows rows and batch_bytes bytes of text (one text may be larger).

    Raises InputChanged where a file is not what was planned, DataError for schema drift and damage, Interrupted where a store cannot be reached.
    """
    ordinal = 0
    row_bytes = _mean_text_bytes(partition)
    for segment in partition.segments:
        for raw in _read_segment(segment, schema, batch_rows=batch_rows, batch_bytes=batch_bytes, row_bytes=row_bytes):
            if isinstance(raw, RefusedRange):
                yield _refused(raw, schema, segment, ordinal)
                ordinal += raw.row_count
                continue
            for piece in raw.split(batch_rows, batch_bytes):
                if piece.num_rows:
                    yield judge(piece, schema, path=segment.path, name=segment.name, ordinal=ordinal)
                ordinal += piece.num_rows


def _mean_text_bytes(partition: Partition) -> int:
    rows = sum(segment.end - segment.start for segment in partition.segments if segment.kind == "rows")
    return partition.text_bytes // rows if rows else 0


def _read_segment(segment: Segment, schema: RowSchema, *, batch_rows: int, batch_bytes: int, row_bytes: int) -> Iterator[RawRows | RefusedRange]:
    if segment.kind == "unreadable":
        yield RefusedRange(1, None, None, Fault("unreadable_file", "could not be read when the job was planned"))
        return
    source = open_input(segment.path, segment.size, segment.version)
    try:
        yield from read_parquet(source, segment, schema, batch_rows=batch_rows, batch_bytes=batch_bytes, row_bytes=row_bytes)
        source.check()
    finally:
        source.close()


def _refused(refused: RefusedRange, schema: RowSchema, segment: Segment, ordinal: int) -> RowBatch:
    """A batch that holds no row, only why."""
    refusal = Refusal(ordinal, refused.row_count, None, segment.path, refused.first_row, refused.first_byte, refused.fault.reason, refused.fault.error,
                      refused.fault.text_bytes)
    kept = tuple(pa.array([], kind) for _, _, kind in schema.kept)
    return RowBatch(ordinal, refused.row_count, np.empty(0, np.int64), pa.array([], schema.id_type), pa.array([], pa.string()), kept, (refusal,))
