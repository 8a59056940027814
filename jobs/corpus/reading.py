"""A partition, read: each segment by the reader of its format, in the order of the plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from embermill.jobs.corpus.csv import read_csv
from embermill.jobs.corpus.jsonl import read_jsonl
from embermill.jobs.corpus.lines import BLOCK_BYTES, DamagedStream, line_blocks, open_text, range_blocks
from embermill.jobs.corpus.parquet import read_parquet
from embermill.jobs.corpus.rows import Fault, RawRows, Refusal, RefusedRange, RowBatch, RowSchema, judge
from embermill.jobs.corpus.text import read_text
from embermill.jobs.partition import Partition, Segment
from embermill.jobs.storage import InputFile, open_input

BATCH_ROWS = 16_384
BATCH_BYTES = 4 << 20
MARKED_UP = 8  # a line of JSON or CSV may be that much longer than the text in it: escapes, other columns


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
    row_bytes = _mean_text_bytes(partition)
    for segment in partition.segments:
        if segment.kind == "unreadable":
            why = unreadable.get(segment.path) or "could not be read when the job was planned"
            yield _refused(RefusedRange(1, None, None, Fault("unreadable_file", why)), schema, segment, ordinal)
            ordinal += 1
            continue
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
    source = open_input(segment.path, *(segment.seen or (segment.size, segment.version)))
    try:
        if segment.format == "parquet":
            yield from read_parquet(source, segment, schema, batch_rows=batch_rows, batch_bytes=batch_bytes, row_bytes=row_bytes)
        elif segment.kind == "head":
            yield from _first(segment.end, read_lines(source, segment, schema))
        else:
            yield from read_lines(source, segment, schema)
        source.check()
    finally:
        source.close()


def read_lines(source: InputFile, segment: Segment, schema: RowSchema) -> Iterator[RawRows | RefusedRange]:
    """Rows of a file of lines: its byte range, or the whole of it front to back."""
    row = 0
    try:
        for raw in _lines_of(source, segment, schema):
            source.check()
            yield raw
            row += raw.row_count if isinstance(raw, RefusedRange) else raw.num_rows
    except DamagedStream as error:
        if schema.on_bad_file == "fail":
            raise
        yield RefusedRange(1, row, None, Fault("unreadable_file", f"the rest of the file: {error}"))


def _lines_of(source: InputFile, segment: Segment, schema: RowSchema) -> Iterator[RawRows | RefusedRange]:
    numbered = segment.kind != "bytes"
    limit = schema.max_text_bytes if segment.format == "text" else MARKED_UP * schema.max_text_bytes + BLOCK_BYTES
    if numbered:
        blocks = line_blocks(open_text(source, segment.compression, segment.path), 0, None, limit)
    else:
        blocks = range_blocks(source, segment.start, segment.end, limit)
    if segment.format == "csv":
        return read_csv(blocks, schema, segment.path, limit)
    if segment.format == "jsonl":
        return read_jsonl(blocks, schema, segment.path, numbered=numbered)
    return read_text(blocks, schema, segment.path, numbered=numbered)


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
