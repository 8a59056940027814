"""Formats whose pieces are files: written under another name, and renamed when they are whole."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from embermill.jobs.export.formats.format import Format
from embermill.jobs.export.source import Part

ROW_GROUP_BYTES = 32 << 20
PARQUET_BYTES = 256 << 20  # of a file, before compression
LINES_BYTES = 48 << 20  # of a file of lines: one request to a server that takes 100 MB, with room for a single large row


class FileFormat(Format):
    """pattern: of the files' names, with {} for the number."""

    pattern: str

    def write(self, number: int, first_row: int, parts: Iterator[Part]) -> tuple[str, int]:
        name = self.pattern.format(f"{number:06d}")
        path = self.out / self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{name}.tmp")
        rows = self.write_file(temporary, parts)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        return str(path.relative_to(self.out)), rows

    @property
    def folder(self) -> str:
        """Where below --out."""
        return ""

    @abstractmethod
    def write_file(self, path: Path, parts: Iterator[Part]) -> int:
        """A file of the next parts, up to its size; its rows."""
        ...


class LinesFormat(FileFormat):
    """One or two lines a row, UTF-8."""

    def write_file(self, path: Path, parts: Iterator[Part]) -> int:
        rows = 0
        with path.open("wb") as file:
            for part in parts:
                rows += self._write_part(file, part)
                if file.tell() >= LINES_BYTES:
                    break
        return rows

    def _write_part(self, file: BinaryIO, part: Part) -> int:
        file.write("".join(f"{line}\n" for line in self.lines(part)).encode())
        return part.rows

    @abstractmethod
    def lines(self, part: Part) -> Iterator[str]: ...


class ParquetFormat(FileFormat):
    """Row groups of about 32 MiB."""

    pattern = "part-{}.parquet"

    @abstractmethod
    def open_writer(self, path: Path) -> pq.ParquetWriter: ...

    @abstractmethod
    def table(self, part: Part) -> pa.RecordBatch:
        """Rows of the writer's schema."""
        ...

    def write_file(self, path: Path, parts: Iterator[Part]) -> int:
        rows = written = size = 0
        group: list[pa.RecordBatch] = []
        with self.open_writer(path) as writer:
            for part in parts:
                batch = self.table(part)
                group.append(batch)
                rows, size = rows + part.rows, size + batch.nbytes
                if size >= ROW_GROUP_BYTES:
                    _write_group(writer, group)
                    written, size, group = written + size, 0, []
                    if written >= PARQUET_BYTES:
                        break
            if group:
                _write_group(writer, group)
        return rows


def _write_group(writer: pq.ParquetWriter, batches: list[pa.RecordBatch]) -> None:
    table = pa.Table.from_batches(batches).combine_chunks()
    writer.write_table(table, row_group_size=table.num_rows)


def plain_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """What every reader of Parquet takes: no Arrow schema, plain pages, Snappy."""
    dictionaries = [field.name for field in schema if not pa.types.is_nested(field.type)]
    return pq.ParquetWriter(path, schema, version="2.6", data_page_version="1.0", compression="snappy", use_dictionary=dictionaries, store_schema=False)


def vector_lists(part: Part) -> pa.Array:
    """The vectors as list<float32>."""
    rows, dim = part.vectors.shape
    flat = pa.array(part.vectors.reshape(-1))
    return pa.ListArray.from_arrays(pa.array(range(0, rows * dim + 1, dim), pa.int32()), flat)
