"""A Parquet file whose row groups, and columns of one, are encoded side by side by threads that do not hold the interpreter: byte for byte what one
ParquetWriter writes.

A few columns of a group are written into memory as a file of its own; its pages go to the file as they are, and its part of the footer gets the place where
they lie now.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from embermill.jobs.shard.thrift_compact import I64, LIST, STRUCT, Reader, Struct, write_struct

MAGIC = b"PAR1"
NUM_ROWS, ROW_GROUPS = 3, 4  # of FileMetaData (parquet.thrift)
COLUMNS, GROUP_ROWS, GROUP_OFFSET, GROUP_ORDINAL = 1, 3, 5, 7  # of RowGroup
GROUP_SIZES = (2, 6)  # of RowGroup: bytes of its columns, before and after compression
CHUNK_OFFSET, CHUNK_META = 2, 3  # of ColumnChunk
PAGE_OFFSETS = (9, 10, 11)  # of ColumnMetaData: of data, index and dictionary pages

OpenWriter = Callable[[Any, Sequence[str]], pq.ParquetWriter]
"""(sink, columns in the order of the schema) -> a writer of those, with all settings."""


class RowGroupFile:
    """columns: of the file, as runs that are encoded each by itself. pool: who encodes; other files may use it as well.
    groups: that are being encoded at a time; a table is in use until as many more came."""

    def __init__(self, path: Path, open_writer: OpenWriter, columns: Sequence[Sequence[str]], pool: Executor, groups: int) -> None:
        self._open_writer, self._columns, self._pool, self._at_a_time = open_writer, columns, pool, groups
        self._file: BinaryIO = path.open("wb")
        self._file.write(MAGIC)
        self._encoding: deque[list[Future[pa.Buffer]]] = deque()
        self._groups: list[Struct] = []
        self._metadata: dict[str, str] = {}

    def write_table(self, table: pa.Table, row_group_size: int) -> None:
        """One row group."""
        assert row_group_size == table.num_rows
        self._encoding.append([self._pool.submit(self._encode, table, columns) for columns in self._columns])
        while len(self._encoding) > self._at_a_time:
            self._append()

    def add_key_value_metadata(self, metadata: Mapping[str, str]) -> None:
        self._metadata |= metadata

    def close(self) -> None:
        """Nothing may be written after it; it may be called again. No table is in use any more."""
        if self._file.closed:
            return
        try:
            while self._encoding:
                self._append()
            footer = self._footer()
            self._file.write(footer + len(footer).to_bytes(4, "little") + MAGIC)
        finally:
            rest = [part for group in self._encoding for part in group]
            self._encoding.clear()
            wait([part for part in rest if not part.cancel()])
            self._file.close()

    def __enter__(self) -> RowGroupFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _encode(self, table: pa.Table, columns: Sequence[str]) -> pa.Buffer:
        sink = pa.BufferOutputStream()
        with self._open_writer(sink, columns) as writer:
            writer.write_table(table.select(columns), row_group_size=table.num_rows)
        return sink.getvalue()

    def _append(self) -> None:
        """The oldest group, once all of it is encoded."""
        parts = [part.result() for part in self._encoding[0]]
        self._encoding.popleft()
        group = self._append_part(parts[0])
        for part in parts[1:]:
            _join(group, self._append_part(part))
        if GROUP_ORDINAL in group:
            group.put(GROUP_ORDINAL, len(self._groups))
        self._groups.append(group)

    def _append_part(self, whole: pa.Buffer) -> Struct:
        """Its row group, as it lies in this file."""
        data = memoryview(whole)
        size = int.from_bytes(data[-8:-4], "little")
        group: Struct
        (group,) = Reader(bytes(data[-8 - size : -8])).struct().value(ROW_GROUPS)[1]
        _move(group, self._file.tell() - len(MAGIC))
        self._file.write(data[len(MAGIC) : -8 - size])
        return group

    def _footer(self) -> bytes:
        """That of a file without rows, and the groups."""
        sink = pa.BufferOutputStream()
        writer = self._open_writer(sink, [name for columns in self._columns for name in columns])
        if self._metadata:
            writer.add_key_value_metadata(self._metadata)
        writer.close()
        data = memoryview(sink.getvalue())
        footer = Reader(bytes(data[len(data) - 8 - int.from_bytes(data[-8:-4], "little") : -8])).struct()
        footer[NUM_ROWS] = (I64, sum(group.value(GROUP_ROWS) for group in self._groups))
        footer[ROW_GROUPS] = (LIST, (STRUCT, self._groups))
        return write_struct(footer)


def _move(group: Struct, by: int) -> None:
    """Its pages lie `by` bytes farther on."""
    if GROUP_OFFSET in group:
        group.put(GROUP_OFFSET, group.value(GROUP_OFFSET) + by)
    for chunk in group.value(COLUMNS)[1]:
        if chunk.value(CHUNK_OFFSET):
            chunk.put(CHUNK_OFFSET, chunk.value(CHUNK_OFFSET) + by)
        meta = chunk.value(CHUNK_META)
        for field in PAGE_OFFSETS:
            if field in meta:
                meta.put(field, meta.value(field) + by)


def _join(group: Struct, more: Struct) -> None:
    """Columns of the same rows that lie behind the group's own."""
    group.value(COLUMNS)[1].extend(more.value(COLUMNS)[1])
    for size in GROUP_SIZES:
        if size in group:
            group.put(size, group.value(size) + more.value(size))
