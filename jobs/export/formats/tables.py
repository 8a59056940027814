"""Tables whose own library commits each piece: what is there is asked of the table itself."""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Iterator
from types import ModuleType

import pyarrow as pa

from embermill.jobs.errors import UsageError
from embermill.jobs.export.formats.format import Format
from embermill.jobs.export.source import Part

PIECE_ROWS, PIECE_BYTES = 1 << 17, 128 << 20  # of a commit at most


class TableFormat(Format):
    """Pieces of up to PIECE_ROWS rows and PIECE_BYTES, each in one atomic commit. dtypes: of the table, not of the vectors."""

    dtypes = ()

    def write(self, number: int, first_row: int, parts: Iterator[Part]) -> tuple[str, int]:
        batches: list[pa.RecordBatch] = []
        rows = size = 0
        for part in parts:
            batches.append(part.batch)
            rows, size = rows + part.rows, size + part.batch.nbytes
            if rows >= PIECE_ROWS or size >= PIECE_BYTES:
                break
        self.append(pa.Table.from_batches(batches))
        return f"rows from {first_row}", rows

    def written(self, noted: int) -> int:
        return self.count()

    @abstractmethod
    def count(self) -> int:
        """Rows that are committed; 0 where there is no table."""
        ...

    @abstractmethod
    def append(self, table: pa.Table) -> None: ...


def require_module(name: str, package: str) -> ModuleType:
    """UsageError where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(f"this format needs {package}, which is not installed here ({error}): pip install {package}") from None


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The nearest type that Delta and Iceberg have: signed integers, microseconds, lists of any size; text for a time of day, ticks for a duration."""
    if pa.types.is_unsigned_integer(kind):
        return {8: pa.int16(), 16: pa.int32(), 32: pa.int64(), 64: pa.decimal128(20, 0)}[kind.bit_width]
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_duration(kind):
        return pa.int64()
    if pa.types.is_time(kind) or pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", None if kind.tz is None else "UTC")
    if pa.types.is_date64(kind):
        return pa.date32()
    if pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_map(kind):
        return pa.map_(plain_type(kind.key_type), plain_type(kind.item_type))
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(pa.field("element", plain_type(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, plain_type(field.type)) for field in kind])
    return kind


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """All nullable."""
    return pa.schema([pa.field(field.name, plain_type(field.type)) for field in schema])


def plain_table(table: pa.Table) -> pa.Table:
    """Nanoseconds are cut to microseconds, which is all that these tables have."""
    schema = plain_schema(table.schema)
    columns = [column.cast(field.type, safe=not pa.types.is_timestamp(field.type)) for column, field in zip(table.columns, schema, strict=True)]
    return pa.Table.from_arrays(columns, schema=schema)
