"""A Parquet file whose row groups are encoded side by side, by threads that do not hold the interpreter: byte for byte what one ParquetWriter writes.

Each group is written into memory as a file of its own; its pages go to the file as they are, and its part of the footer gets the place where they lie now.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from embermill.jobs.shard.thrift_compact import I64, LIST, STRUCT, Reader, Struct, write_struct

MAGIC = b"PAR1"
NUM_ROWS, ROW_GROUPS = 3, 4  # of FileMetaData (parquet.thrift)
COLUMNS, GROUP_ROWS, GROUP_OFFSET, GROUP_ORDINAL = 1, 3, 5, 7  # of RowGroup
CHUNK_OFFSET, CHUNK_META = 2, 3  # of ColumnChunk
PAGE_OFFSETS = (9, 10, 11)  # of ColumnMetaData: of data, index and dictionary pages

OpenWriter = Callable[[Any], pq.ParquetWriter]


class RowGroupFile:
    """open_writer: a ParquetWriter with all settings, for any sink. threads: groups that are encoded at a time; a table is in use until as many more came."""

    def __init__(self, path: Path, open_writer: OpenWriter, threads: int) -> None:
        self._open_writer, self._threads = open_writer, threads
        self._file: BinaryIO = path.open("wb")
        self._file.write(MAGIC)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="row-groups")
        self._encoding: deque[Future[pa.Buffer]] = deque()
        self._groups: list[Struct] = []
        self._metadata: dict[str, str] = {}

    def write_table(self, table: pa.Table, row_group_size: int) -> None:
        """One row group."""
        assert row_group_size == table.num_rows
        self._encoding.append(self._pool.submit(self._encode, table))
        while len(self._encoding) > self._threads:
            self._append(self._encoding.popleft().result())

    def add_key_value_metadata(self, metadata: Mapping[str, str]) -> None:
        self._metadata |= metadata

    def close(self) -> None:
        """Nothing may be written after it; it may be called again."""
        if self._file.closed:
            return
        try:
            while self._encoding:
                self._append(self._encoding.popleft().result())
            footer = self._footer()
            self._file.write(footer + len(footer).to_bytes(4, "little") + MAGIC)
        finally:
            self._pool.shutdown(cancel_futures=True)
            self._file.close()

    def __enter__(self) -> RowGroupFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _encode(self, table: pa.Table) -> pa.Buffer:
        sink = pa.BufferOutputStream()
        with self._open_writer(sink) as writer:
            writer.write_table(table, row_group_size=table.num_rows)
        return sink.getvalue()

    def _append(self, whole: pa.Buffer) -> None:
        data = memoryview(whole)
        size = int.from_bytes(data[-8:-4], "little")
        (group,) = Reader(bytes(data[-8 - size : -8])).struct().value(ROW_GROUPS)[1]
        _move(group, self._file.tell() - len(MAGIC), len(self._groups))
        self._file.write(data[len(MAGIC) : -8 - size])
        self._groups.append(group)

    def _footer(self) -> bytes:
        """That of a file without rows, and the groups."""
        sink = pa.BufferOutputStream()
        writer = self._open_writer(sink)
        if self._metadata:
            writer.add_key_value_metadata(self._metadata)
        writer.close()
        data = memoryview(sink.getvalue())
        footer = Reader(bytes(data[len(data) - 8 - int.from_bytes(data[-8:-4], "little") : -8])).struct()
        footer[NUM_ROWS] = (I64, sum(group.value(GROUP_ROWS) for group in self._groups))
        footer[ROW_GROUPS] = (LIST, (STRUCT, self._groups))
        return write_struct(footer)


def _move(group: Struct, by: int, ordinal: int) -> None:
    """Its pages lie `by` bytes farther on, and it is the file's group `ordinal`."""
    if GROUP_OFFSET in group:
        group.put(GROUP_OFFSET, group.value(GROUP_OFFSET) + by)
    if GROUP_ORDINAL in group:
        group.put(GROUP_ORDINAL, ordinal)
    for chunk in group.value(COLUMNS)[1]:
        if chunk.value(CHUNK_OFFSET):
            chunk.put(CHUNK_OFFSET, chunk.value(CHUNK_OFFSET) + by)
        meta = chunk.value(CHUNK_META)
        for field in PAGE_OFFSETS:
            if field in meta:
                meta.put(field, meta.value(field) + by)
