"""CSV (RFC 4180, a header first): every field is a string, an empty one the empty string, quoted fields may hold line ends. Read front to back.

A record that does not parse is refused by its first line, and reading goes on with the next line: a quote that is never closed costs one row, not the file.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from jobs.corpus_columns import ColumnFitter, check_file
from jobs.corpus_lines import BYTE_ORDER_MARK, LineBlock, LongLine
from jobs.corpus_rows import Fault, RawRows, RefusedRange, RowSchema
from jobs.errors import DataError

BATCH_RECORDS = 8_192
BATCH_BYTES = 4 << 20
csv.field_size_limit(2**31 - 1)  # ours bounds whole records


@dataclass(frozen=True)
class Line:
    """A physical line with its end. offset: in the uncompressed text. too_long: its bytes were passed over."""

    data: bytes
    offset: int
    too_long: int = 0


@dataclass(frozen=True)
class Record:
    """fields, or why there are none. offset: of its first byte. size: in bytes."""

    offset: int
    size: int
    fields: list[str]
    fault: Fault | None = None


class _RecordTooLong(Exception):
    pass


@dataclass
class _Records:
    """Iterates over records. Is itself the iterator of lines that csv.reader draws from, and keeps what one record took."""

    lines: Iterator[Line]
    max_record_bytes: int
    returned: deque[Line] = field(default_factory=deque)
    taken: list[Line] = field(default_factory=list)
    taken_bytes: int = 0
    invalid: bool = False

    def __iter__(self) -> _Records:
        return self

    def __next__(self) -> str:
        line = self.returned.popleft() if self.returned else next(self.lines)
        self.taken.append(line)
        self.taken_bytes += len(line.data)
        if line.too_long or self.taken_bytes > self.max_record_bytes:
            raise _RecordTooLong
        try:
            return line.data.decode()
        except UnicodeDecodeError:
            self.invalid = True
            return line.data.decode(errors="surrogateescape")

    def records(self) -> Iterator[Record]:
        reader = csv.reader(self, strict=True)
        while True:
            self.taken, self.taken_bytes, self.invalid = [], 0, False
            try:
                fields = next(reader)
            except StopIteration:
                return
            except (csv.Error, _RecordTooLong) as error:
                yield self._refused(error)
                reader = csv.reader(self, strict=True)
                continue
            if fields:  # a blank line is no record
                fault = Fault("invalid_utf8", "bytes that are no UTF-8") if self.invalid else None
                yield Record(self.taken[0].offset, self.taken_bytes, fields, fault)

    def _refused(self, error: Exception) -> Record:
        first, *others = self.taken
        self.returned.extendleft(reversed(others))
        if first.too_long or len(first.data) > self.max_record_bytes:
            size = first.too_long or len(first.data)
            return Record(first.offset, size, [], Fault("text_too_long", f"a line of {size} bytes", None))
        why = f"a quoted field that is not closed within {self.max_record_bytes} bytes" if isinstance(error, _RecordTooLong) else str(error)
        return Record(first.offset, len(first.data), [], Fault("unparsable_line", why))


def csv_records(blocks: Iterable[LineBlock | LongLine], max_record_bytes: int) -> Iterator[Record]:
    """Every record, the header first."""
    return _Records(_lines(blocks), max_record_bytes).records()


def _lines(blocks: Iterable[LineBlock | LongLine]) -> Iterator[Line]:
    for block in blocks:
        if isinstance(block, LongLine):
            yield Line(b"", block.offset, block.length)
            continue
        offset = block.offset
        for data in block.data.splitlines(keepends=True) if b"\r" not in block.data.replace(b"\r\n", b"") else _split(block.data):
            yield Line(data.removeprefix(BYTE_ORDER_MARK) if offset == 0 else data, offset)
            offset += len(data)


def _split(data: bytes) -> Iterator[bytes]:
    """bytes.splitlines also splits at a lone carriage return."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start) + 1 or len(data)
        yield data[start:end]
        start = end


def read_header(records: Iterator[Record], path: str) -> list[str]:
    """The columns; none for an empty file. DataError for a header that cannot be one."""
    header = next(records, None)
    if header is None:
        return []
    if header.fault is not None:
        raise DataError(f"{path}: its header cannot be read: {header.fault.error}")
    if repeated := sorted({name for name in header.fields if header.fields.count(name) > 1}):
        raise DataError(f"{path}: two columns of one name: {', '.join(repeated)}")
    return header.fields


def read_csv(blocks: Iterable[LineBlock | LongLine], schema: RowSchema, path: str, max_record_bytes: int) -> Iterator[RawRows | RefusedRange]:
    """Front to back; rows have numbers and bytes. A row with more or fewer fields than the header is refused alone."""
    records = csv_records(blocks, max_record_bytes)
    names = read_header(records, path)
    if not names:
        return
    check_file(schema, path, dict.fromkeys(names, pa.string()))
    row = 0
    for batch in _batches(records):
        yield _raw(batch, names, schema, row)
        row += len(batch)


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    size = 0
    for record in records:
        batch.append(record)
        size += record.size
        if len(batch) == BATCH_RECORDS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _raw(batch: list[Record], names: list[str], schema: RowSchema, first: int) -> RawRows:
    faults = {row: record.fault for row, record in enumerate(batch) if record.fault is not None}
    for row, record in enumerate(batch):
        if row not in faults and len(record.fields) != len(names):
            faults[row] = Fault("unparsable_line", f"{len(record.fields)} fields, while the header has {len(names)}")
    columns = {}
    for name in schema.columns:
        if name in names:
            place = names.index(name)
            columns[name] = pa.array([None if row in faults else record.fields[place] for row, record in enumerate(batch)], pa.string())
    ids, texts, kept, uncastable = ColumnFitter(schema).fit(len(batch), columns)
    offsets = np.array([record.offset for record in batch], np.int64)
    return RawRows(len(batch), ids, texts, kept, np.arange(first, first + len(batch), dtype=np.int64), offsets, uncastable | faults)
