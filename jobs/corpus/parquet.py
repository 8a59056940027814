"""Parquet by row range: whole groups or parts of one, decoded in bounded batches, page checksums verified."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embermill.jobs.corpus.columns import ColumnFitter, check_file
from embermill.jobs.corpus.rows import Fault, RawRows, RefusedRange, RowSchema
from embermill.jobs.errors import DataError
from embermill.jobs.partition import Segment
from embermill.jobs.storage import InputFile, is_url

LOCAL_BUFFER_BYTES = 1 << 20
REMOTE_BUFFER_BYTES = 8 << 20


def open_parquet(source: InputFile, path: str) -> pq.ParquetFile:
    """Streams column chunks through a buffer each instead of loading them whole. DataError for what is not Parquet."""
    buffer_bytes = REMOTE_BUFFER_BYTES if is_url(path) else LOCAL_BUFFER_BYTES
    try:
        return pq.ParquetFile(source, buffer_size=buffer_bytes, pre_buffer=False, page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        if is_system_error(error):
            raise
        source.check()
        raise DataError(f"{path}: not a readable Parquet file: {first_line(error)}") from None


def is_system_error(error: BaseException) -> bool:
    """An OSError of the machine has a number; Arrow's own about damaged data have none."""
    return isinstance(error, OSError) and error.errno is not None


def first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def read_parquet(
    source: InputFile, segment: Segment, schema: RowSchema, *, batch_rows: int, batch_bytes: int, row_bytes: int
) -> Iterator[RawRows | RefusedRange]:
    """Rows [segment.start, segment.end). row_bytes: the planner's estimate of a row's text, which footers of dictionary-encoded text hide."""
    with open_parquet(source, segment.path) as file:
        types = dict(zip(file.schema_arrow.names, file.schema_arrow.types, strict=True))
        check_file(schema, segment.path, types)
        columns = [column for column in schema.columns if column in types]
        fitter = ColumnFitter(schema)
        group_start = 0
        for group in range(file.num_row_groups):
            group_rows = file.metadata.row_group(group).num_rows
            start, end = max(segment.start, group_start), min(segment.end, group_start + group_rows)
            if start < end:
                rows = min(batch_rows, max(1, batch_bytes // max(1, row_bytes, _mean_row_bytes(file.metadata.row_group(group), columns))))
                yield from _read_group(file, source, group, columns, fitter, skip=start - group_start, start=start, end=end, batch_rows=rows)
            group_start += group_rows


def _mean_row_bytes(group: Any, columns: list[str]) -> int:
    chunks = [group.column(number) for number in range(group.num_columns)]
    return int(sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] in columns)) // max(1, int(group.num_rows))


def _read_group(
    file: pq.ParquetFile, source: InputFile, group: int, columns: list[str], fitter: ColumnFitter, *, skip: int, start: int, end: int, batch_rows: int
) -> Iterator[RawRows | RefusedRange]:
    """File rows [start, end), which begin `skip` rows into the group. What cannot be decoded is refused from there to the end of the range."""
    at = start - skip
    done = start
    for batch in _decoded(file, source, group, columns, end - at, batch_rows):
        if isinstance(batch, Fault):
            yield RefusedRange(end - done, done, None, batch)
            return
        low, high = max(0, start - at), min(batch.num_rows, end - at)
        if low < high:
            source.check()
            yield _raw(batch.slice(low, high - low), fitter, at + low)
            done = at + high
        at += batch.num_rows
        if at >= end:
            return
    yield RefusedRange(end - done, done, None, Fault("corrupt_row_group", f"row group {group}: ends {end - done} rows before its footer says"))


def _decoded(file: pq.ParquetFile, source: InputFile, group: int, columns: list[str], num_rows: int, batch_rows: int) -> Iterator[pa.RecordBatch | Fault]:
    """The group's batches from its beginning, then a Fault where one cannot be decoded."""
    batches = file.iter_batches(batch_rows, row_groups=[group], columns=columns, use_threads=False) if columns else _bare_batches(num_rows, batch_rows)
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError, ValueError) as error:
            if is_system_error(error):
                raise
            source.check()
            yield Fault("corrupt_row_group", f"row group {group}: {first_line(error)}")
            return
        if batch is None:
            return
        yield batch


def _bare_batches(num_rows: int, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Rows of a file that has none of the columns."""
    for start in range(0, num_rows, batch_rows):
        yield pa.RecordBatch.from_arrays([pa.nulls(min(batch_rows, num_rows - start))], ["nothing"])


def _raw(batch: pa.RecordBatch, fitter: ColumnFitter, first_row: int) -> RawRows:
    ids, texts, kept, faults = fitter.fit(batch.num_rows, dict(zip(batch.schema.names, batch.columns, strict=True)))
    return RawRows(batch.num_rows, ids, texts, kept, np.arange(first_row, first_row + batch.num_rows, dtype=np.int64), None, faults)
