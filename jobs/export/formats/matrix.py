"""One matrix of all vectors, and beside it which row is of which id: for FAISS, usearch, NumPy and whatever else maps a file."""

from __future__ import annotations

import os
import struct
from abc import abstractmethod
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embermill.jobs.export.formats.format import ID, Format
from embermill.jobs.export.source import Part

IDS = "ids.parquet"
PIECE_ROWS = 1 << 16


class _Matrix(Format):
    """Written in place, piece by piece, under a name that ends in .tmp until all rows are there."""

    name: str
    renames = (ID,)

    @abstractmethod
    def header(self) -> bytes: ...

    @property
    def descr(self) -> str:
        """The type of one value, as NumPy writes it."""
        return np.dtype(self.source.columns.vector.numpy_type).newbyteorder("<").str

    def write(self, number: int, first_row: int, parts: Iterator[Part]) -> tuple[str, int]:
        width, rows = self.source.columns.vector.row_bytes, 0
        header, path = self.header(), self.out / f"{self.name}.tmp"
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.write(header)
            file.seek(len(header) + first_row * width)
            for part in parts:
                file.write(np.ascontiguousarray(part.vectors, self.descr).tobytes())
                rows += part.rows
                if rows >= PIECE_ROWS:
                    break
            file.flush()
            os.fsync(file.fileno())
        return self.name, rows

    def finish(self) -> tuple[str, ...]:
        temporary = self.out / f"{self.name}.tmp"
        if not self.source.rows:
            temporary.write_bytes(self.header())
        self._write_ids()
        if temporary.exists():
            temporary.replace(self.out / self.name)
        return (IDS,)

    def _write_ids(self) -> None:
        columns = self.source.columns
        schema = pa.schema([pa.field("row", pa.int64(), nullable=False), pa.field(columns.id_name, columns.id_type, nullable=False)])
        temporary, row = self.out / f".{IDS}.tmp", 0
        with pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as writer:
            for ids in self.source.ids():
                writer.write_table(pa.Table.from_arrays([pa.array(np.arange(row, row + len(ids))), ids], schema=schema))
                row += len(ids)
        temporary.replace(self.out / IDS)


class Npy(_Matrix):
    """embeddings.npy, [rows, dim] in the column's own type; of bits [rows, dim / 8] uint8."""

    name = "embeddings.npy"
    dtypes = ()

    def header(self) -> bytes:
        described = f"{{'descr': '{self.descr}', 'fortran_order': False, 'shape': ({self.source.rows}, {self.source.columns.vector.width}), }}"
        padded = described + " " * (-(len(described) + 11) % 64) + "\n"
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded.encode()


class Fbin(_Matrix):
    """embeddings.fbin: rows and dim as little-endian uint32, then float32, row after row."""

    name = "embeddings.fbin"

    def header(self) -> bytes:
        return struct.pack("<II", self.source.rows, self.source.columns.vector.dim)
