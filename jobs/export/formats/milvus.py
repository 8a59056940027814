"""Milvus' bulk import: Parquet whose columns are the collection's fields, to the letter, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embermill.jobs.export.formats.files import ParquetFormat, plain_writer, vector_lists
from embermill.jobs.export.formats.format import EVERYTHING
from embermill.jobs.export.formats.json_lines import one_line
from embermill.jobs.export.source import Part
from embermill.jobs.export.state import replace_file
from embermill.jobs.index.metadata_json import json_kind, json_rows

SCHEMA = "_schema.json"
SCALARS = {pa.bool_(): "BOOL", pa.int8(): "INT8", pa.int16(): "INT16", pa.int32(): "INT32", pa.int64(): "INT64", pa.float32(): "FLOAT", pa.float64(): "DOUBLE"}
WIDENED = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64(), pa.float16(): pa.float32()}


class Milvus(ParquetFormat):
    """An id is an INT64 or a VARCHAR; what Milvus has no type for is a JSON field, times and bytes are VARCHAR. _schema.json names every field's type."""

    limits = "milvus-import"
    renames = EVERYTHING

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        columns = self.source.columns
        self._types = {field.name: _stored(field.type) for field in columns.schema}
        self._id = pa.int64() if pa.types.is_integer(columns.id_type) else pa.string()
        fields = [pa.field(columns.id_name, self._id, nullable=False), pa.field(columns.vector_name, pa.list_(pa.float32()), nullable=False)]
        self._schema = pa.schema([*fields, *(pa.field(name, kind) for name, kind in self._types.items())])

    def open_writer(self, path: Path) -> pq.ParquetWriter:
        return plain_writer(path, self._schema)

    def table(self, part: Part) -> pa.RecordBatch:
        columns = [_converted(column, self._types[name], name) for name, column in zip(part.metadata.schema.names, part.metadata.columns, strict=True)]
        return pa.RecordBatch.from_arrays([part.ids.cast(self._id), vector_lists(part), *columns], schema=self._schema)

    def finish(self) -> tuple[str, ...]:
        columns = self.source.columns
        fields: list[dict[str, Any]] = [
            {"name": columns.id_name, "type": "INT64" if pa.types.is_integer(self._id) else "VARCHAR", "primary": True},
            {"name": columns.vector_name, "type": "FLOAT_VECTOR", "dim": columns.vector.dim},
            *({"name": field.name, "type": _name(field.type), "nullable": True} for field in columns.schema),
        ]
        replace_file(self.out / SCHEMA, (json.dumps({"fields": fields}, indent=1) + "\n").encode())
        return (SCHEMA,)


def _stored(kind: pa.DataType) -> pa.DataType:
    if kind in SCALARS:
        return kind
    if kind in WIDENED:
        return WIDENED[kind]
    if pa.types.is_list(kind) and (kind.value_type in SCALARS or pa.types.is_string(kind.value_type)):
        return pa.list_(kind.value_type)
    return pa.string()


def _name(kind: pa.DataType) -> str:
    stored = _stored(kind)
    if pa.types.is_list(stored):
        return f"ARRAY of {SCALARS.get(stored.value_type, 'VARCHAR')}"
    return SCALARS.get(stored) or ("JSON" if _is_json(kind) else "VARCHAR")


def _is_json(kind: pa.DataType) -> bool:
    return json_kind(kind) == "nested" or pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)


def _converted(column: pa.Array, stored: pa.DataType, name: str) -> pa.Array:
    if not pa.types.is_string(stored) or pa.types.is_string(column.type):
        return column if column.type == stored else column.cast(stored)
    batch = pa.RecordBatch.from_arrays([column], [name])
    values = [row.get(name) for row in json_rows(batch)]
    is_text = json_kind(column.type) == "string"
    return pc.cast(pa.array([value if value is None or is_text else one_line(value) for value in values], pa.string()), pa.string())
