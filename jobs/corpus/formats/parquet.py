"""Parquet by row range: whole groups or parts of one, decoded in bounded batches, page checksums verified."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embermill.counts import several
from embermill.jobs.corpus.arrow_types import plain_array
from embermill.jobs.corpus.columns import ColumnFitter, check_file
from embermill.jobs.corpus.formats.format import BatchSize, Wanted
from embermill.jobs.corpus.int96 import UNIT_IN_SECONDS, exact, int96_columns
from embermill.jobs.corpus.parquet_chunks import ColumnChunks
from embermill.jobs.corpus.pieces import Piece, cut_rows
from embermill.jobs.corpus.rows import Fault, RawRows, RefusedRange, RowSchema
from embermill.jobs.corpus.surveyed import RowGroup, SurveyedFile
from embermill.jobs.errors import DataError
from embermill.jobs.partition import Segment
from embermill.jobs.storage import InputFile, is_url

LOCAL_BUFFER_BYTES = 1 << 20
REMOTE_BUFFER_BYTES = 8 << 20
MAX_RATIO = 2000  # of a column chunk's pages to its bytes in the file
SAMPLED_GROUPS, SAMPLED_ROWS = 3, 512  # for what a footer hides: the size of dictionary-encoded text (42 MB of repeated text showed 5 KB)
MAX_CHUNK_BYTES = 4 << 30  # a chunk up to this size may be of any ratio


def open_parquet(source: InputFile, path: str, int96_unit: str | None = None) -> pq.ParquetFile:
    """Streams column chunks through a buffer each instead of loading them whole. int96_unit: of INT96 timestamps. DataError for what is not Parquet."""
    buffer_bytes = REMOTE_BUFFER_BYTES if is_url(path) else LOCAL_BUFFER_BYTES
    try:
        file = pq.ParquetFile(
            source, buffer_size=buffer_bytes, pre_buffer=False, page_checksum_verification=True, coerce_int96_timestamp_unit=int96_unit
        )
    except (pa.ArrowException, OSError, ValueError) as error:
        if is_system_error(error):
            raise
        source.check()
        raise DataError(f"{path}: not a readable Parquet file: {first_line(error)}") from None
    _require_possible(file, source.size, path)
    return file


def _require_possible(file: pq.ParquetFile, size: int, path: str) -> None:
    """DataError for a footer that promises what its file cannot hold: who made it so wants memory of whoever reads it."""
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        if group.num_rows < 0 or group.total_byte_size > max(MAX_CHUNK_BYTES, MAX_RATIO * size):
            raise DataError(
                f"{path}: its footer says that row group {number} holds {group.num_rows} rows in {group.total_byte_size} bytes, of a file of {size} bytes: "
                f"expected at most {MAX_RATIO} times the file's bytes"
            )


def is_system_error(error: BaseException) -> bool:
    """An OSError of the machine has a number; Arrow's own about damaged data have none."""
    return isinstance(error, OSError) and error.errno is not None


def first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@dataclass(frozen=True)
class _Open:
    """A file that is being read. columns: those that are wanted of it. seconds: the file with INT96 in seconds, where it has any."""

    file: pq.ParquetFile
    seconds: pq.ParquetFile | None
    source: InputFile
    columns: list[str]
    int96: tuple[str, ...]
    chunks: ColumnChunks
    fitter: ColumnFitter


def read_parquet(
    source: InputFile, segment: Segment, schema: RowSchema, *, batch_rows: int, batch_bytes: int, row_bytes: int
) -> Iterator[RawRows | RefusedRange]:
    """Rows [segment.start, segment.end). row_bytes: the planner's estimate of a row's text, which footers of dictionary-encoded text hide."""
    with open_parquet(source, segment.path) as file:
        types = dict(zip(file.schema_arrow.names, file.schema_arrow.types, strict=True))
        check_file(schema, segment.path, types)
        columns = [column for column in schema.columns if column in types]
        int96 = int96_columns(file, columns)
        seconds = open_parquet(source, segment.path, UNIT_IN_SECONDS) if int96 else None
        reader = _Open(file, seconds, source, columns, int96, ColumnChunks(file, columns), ColumnFitter(schema))
        group_start = 0
        for group in range(file.num_row_groups):
            group_rows = file.metadata.row_group(group).num_rows
            start, end = max(segment.start, group_start), min(segment.end, group_start + group_rows)
            if start < end:
                mean_bytes = reader.chunks.num_bytes(group) // max(1, group_rows)
                rows = min(batch_rows, max(1, batch_bytes // max(1, row_bytes, mean_bytes)))
                yield from _read_group(reader, group, skip=start - group_start, start=start, end=end, batch_rows=rows)
            group_start += group_rows


def _read_group(reader: _Open, group: int, *, skip: int, start: int, end: int, batch_rows: int) -> Iterator[RawRows | RefusedRange]:
    """File rows [start, end), which begin `skip` rows into the group. What cannot be decoded is refused from there to the end of the range."""
    at = start - skip
    done = start
    for decoded in _decoded(reader, group, end - at, batch_rows):
        if isinstance(decoded, Fault):
            yield RefusedRange(end - done, done, None, decoded)
            return
        batch, seconds = decoded
        low, high = max(0, start - at), min(batch.num_rows, end - at)
        if low < high:
            reader.source.check()
            yield _raw(batch.slice(low, high - low), seconds and seconds.slice(low, high - low), reader.fitter, at + low)
            done = at + high
        at += batch.num_rows
        if at >= end:
            return
    yield RefusedRange(end - done, done, None, Fault("corrupt_row_group", f"row group {group}: ends {several(end - done, 'row')} before its footer says"))


def _decoded(reader: _Open, group: int, num_rows: int, batch_rows: int) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch | None] | Fault]:
    """The group's batches from its beginning, each with its INT96 columns in seconds, then a Fault where one cannot be decoded."""
    batches = _batches(reader.file, group, reader.columns, batch_rows) if reader.columns else _bare_batches(num_rows, batch_rows)
    seconds = _batches(reader.seconds, group, reader.int96, batch_rows) if reader.seconds is not None else repeat(None)
    while True:
        try:
            batch, in_seconds = next(batches, None), next(seconds, None)
        except (pa.ArrowException, OSError, ValueError) as error:
            if is_system_error(error):
                raise
            reader.source.check()
            yield Fault("corrupt_row_group", f"row group {group}: {first_line(error)}")
            return
        if batch is None:
            return
        yield batch, in_seconds


def _batches(file: pq.ParquetFile, group: int, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
    return iter(file.iter_batches(batch_rows, row_groups=[group], columns=list(columns), use_threads=False))


def _bare_batches(num_rows: int, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Rows of a file that has none of the columns."""
    for start in range(0, num_rows, batch_rows):
        yield pa.RecordBatch.from_arrays([pa.nulls(min(batch_rows, num_rows - start))], ["nothing"])


def _raw(batch: pa.RecordBatch, seconds: pa.RecordBatch | None, fitter: ColumnFitter, first_row: int) -> RawRows:
    batch, wrong = (batch, {}) if seconds is None else exact(batch, seconds, {source: kind for source, _, kind in fitter.schema.kept})
    ids, texts, kept, faults = fitter.fit(batch.num_rows, dict(zip(batch.schema.names, batch.columns, strict=True)))
    return RawRows(batch.num_rows, ids, texts, kept, np.arange(first_row, first_row + batch.num_rows, dtype=np.int64), None, faults | wrong)


def survey_parquet(
    source: InputFile, path: str, text_columns: tuple[str, ...], kept_columns: tuple[str, ...]
) -> tuple[dict[str, pa.DataType], tuple[RowGroup, ...], int]:
    """(columns and their types, row groups, mean bytes of a row's kept columns). DataError for what is not Parquet."""
    with open_parquet(source, path) as file:
        names = file.schema_arrow.names
        if repeated := sorted(name for name, times in Counter(names).items() if times > 1):
            raise DataError(f"{path}: two columns of one name: {', '.join(repeated)}")
        types = dict(zip(names, file.schema_arrow.types, strict=True))
        group_rows = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
        text = ColumnChunks(file, [column for column in text_columns if column in types])
        kept = ColumnChunks(file, [column for column in kept_columns if column in types])
        text_row_bytes = _row_bytes(file, group_rows, text)
        found = tuple(RowGroup(rows, max(text.num_bytes(number), int(text_row_bytes * rows))) for number, rows in enumerate(group_rows))
        kept_bytes = sum(kept.num_bytes(number) for number in range(len(group_rows)))
        return types, found, max(int(_row_bytes(file, group_rows, kept)), kept_bytes // max(1, sum(group_rows)))


def _row_bytes(file: pq.ParquetFile, group_rows: list[int], columns: ColumnChunks) -> float:
    """Mean bytes of these columns in a sample of rows; 0 where the footer tells the truth (no dictionary), or nothing can be decoded."""
    filled = [number for number, rows in enumerate(group_rows) if rows]
    if not any("DICTIONARY" in encoding for number in filled for chunk in columns.of(number) for encoding in chunk.encodings):
        return 0.0
    rows = size = 0
    for number in sorted({filled[len(filled) * part // SAMPLED_GROUPS] for part in range(SAMPLED_GROUPS)}):
        try:
            batch = next(file.iter_batches(SAMPLED_ROWS, row_groups=[number], columns=columns.names, use_threads=False), None)
        except (pa.ArrowException, ValueError, OSError):  # a damaged group is the reader's to report, with its range
            continue
        if batch is not None:
            rows += batch.num_rows
            size += sum(_bytes(column) for column in batch.columns)
    return size / rows if rows else 0.0


def _bytes(column: pa.Array) -> int:
    plain = plain_array(column)
    if pa.types.is_string(plain.type) or pa.types.is_large_string(plain.type) or pa.types.is_binary(plain.type):
        return pc.sum(pc.binary_length(plain)).as_py() or 0
    return int(plain.nbytes)


class Parquet:
    name = "parquet"
    suffixes: tuple[str, ...] = (".parquet", ".pq")
    not_compressed = "Parquet compresses inside the file; a compressed Parquet file cannot be read by ranges: unpack it"
    infers_types = False

    def survey(self, source: InputFile, file: SurveyedFile, wanted: Wanted, *, sampled: bool) -> SurveyedFile:
        types, groups, kept_row_bytes = survey_parquet(source, file.info.path, wanted.texts, wanted.kept)
        text_bytes, rows = sum(group.text_bytes for group in groups), sum(group.rows for group in groups)
        return replace(file, types=types, groups=groups, rows=rows, text_bytes=text_bytes, expected_rows=rows, kept_row_bytes=kept_row_bytes)

    def first_rows(self, file: SurveyedFile, limit: int, max_text_bytes: int) -> SurveyedFile:
        groups, left = [], limit
        for group in file.groups:
            if left > 0 and group.rows:
                rows = min(group.rows, left)
                groups.append(RowGroup(rows, group.text_bytes * rows // group.rows))
                left -= rows
        rows = sum(group.rows for group in groups)
        return replace(file, groups=tuple(groups), rows=rows, expected_rows=rows, text_bytes=sum(group.text_bytes for group in groups))

    def cut(self, file: SurveyedFile, target_bytes: int) -> Iterator[Piece]:
        first = 0
        for group in file.groups:
            for start, end in cut_rows(group.rows, group.text_bytes, target_bytes):
                yield Piece(file.segment("rows", first + start, first + end), group.text_bytes * (end - start) // group.rows)
            first += group.rows

    def read(self, source: InputFile, segment: Segment, schema: RowSchema, batch: BatchSize) -> Iterator[RawRows | RefusedRange]:
        return read_parquet(source, segment, schema, batch_rows=batch.rows, batch_bytes=batch.text_bytes, row_bytes=batch.row_bytes)

    def has_byte_ranges(self, compression: str | None) -> bool:
        return False

    def rows_lost(self, source: InputFile, entry: Mapping[str, object]) -> str:
        with open_parquet(source, str(entry["path"])) as file:
            found = int(file.metadata.num_rows)
        return "" if found == entry["rows"] else f"it holds {several(found, 'row')}, expected {entry['rows']} as planned"
