"""A partition, read: each segment by the reader of its format, in the order of the plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from embermill.jobs.corpus.formats import FORMATS
from embermill.jobs.corpus.formats.format import BatchSize
from embermill.jobs.corpus.rows import Fault, RawRows, Refusal, RefusedRange, RowBatch, RowSchema, judge
from embermill.jobs.partition import Partition, Segment
from embermill.jobs.storage import open_input

BATCH_ROWS = 16_384
BATCH_BYTES = 4 << 20


def read_rows(
    partition: Partition,
    schema: RowSchema,
    *,
    batch_rows: int = BATCH_ROWS,
    batch_bytes: int = BATCH_BYTES,
    unreadable: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[RowBatch]:
    """Every row of the partition in order, in batches of at most batch_rows rows and batch_bytes bytes of text (one text may be larger).

    unreadable: path -> why, of files that could not be read when the job was planned.
    Raises InputChanged where a file is not what was planned, DataError for schema drift and damage, Interrupted where a store cannot be reached.
    """
    ordinal = 0
    batch = BatchSize(batch_rows, batch_bytes, _mean_text_bytes(partition))
    for segment in partition.segments:
        if segment.kind == "unreadable":
            why = unreadable.get(segment.path) or "could not be read when the job was planned"
            yield _refused(RefusedRange(1, None, None, Fault("unreadable_file", why)), schema, segment, ordinal)
            ordinal += 1
            continue
        for raw in _read_segment(segment, schema, batch):
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


def _read_segment(segment: Segment, schema: RowSchema, batch: BatchSize) -> Iterator[RawRows | RefusedRange]:
    source = open_input(segment.path, *(segment.seen or (segment.size, segment.version)))
    try:
        rows = FORMATS[segment.format].read(source, segment, schema, batch)
        yield from _first(segment.end, rows) if segment.kind == "head" else rows
        source.check()
    finally:
        source.close()


def _first(num_rows: int, raws: Iterator[RawRows | RefusedRange]) -> Iterator[RawRows | RefusedRange]:
    """Only the first num_rows rows."""
    for raw in raws:
        if num_rows <= 0:
            return
        if isinstance(raw, RawRows) and raw.num_rows > num_rows:
            raw = raw.slice(0, num_rows)
        yield raw
        num_rows -= raw.row_count if isinstance(raw, RefusedRange) else raw.num_rows


def _refused(refused: RefusedRange, schema: RowSchema, segment: Segment, ordinal: int) -> RowBatch:
    """A batch that holds no row, only why."""
    refusal = Refusal(
        row=ordinal,
        row_count=refused.row_count,
        id=None,
        file=segment.path,
        first_row=refused.first_row,
        first_byte=refused.first_byte,
        reason=refused.fault.reason,
        error=refused.fault.error,
        text_bytes=refused.fault.text_bytes,
    )
    return RowBatch(
        first_row=ordinal,
        num_rows=refused.row_count,
        rows=np.empty(0, np.int64),
        ids=pa.array([], schema.id_type),
        texts=pa.array([], pa.string()),
        kept=tuple(pa.array([], kind) for _, _, kind in schema.kept),
        refused=(refusal,),
    )
