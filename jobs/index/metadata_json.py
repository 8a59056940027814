"""Kept columns as JSON: what an index that takes JSON is given, and what its limits on metadata are measured by.

Null, NaN and the infinities are left out of a row (JSON has no word for them). A time is ISO 8601, UTC with Z; a decimal number is a string, so that none of
its digits is lost; a duration is a number in its own unit; bytes are base64.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def json_rows(metadata: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Of each row, name -> a value that json.dumps takes."""
    names = metadata.schema.names
    columns = [_json_values(column) for column in metadata.columns]
    for row in zip(*columns, strict=True) if columns else ((),) * metadata.num_rows:
        yield {name: value for name, value in zip(names, row, strict=True) if value is not None}


def json_text(row: dict[str, Any]) -> str:
    """Compact, non-ASCII characters as they are."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def json_kind(kind: pa.DataType) -> str:
    """What a value of the type is in JSON: string, number, boolean, "list of …" one of these, or nested."""
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_duration(kind):
        return "number"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = json_kind(kind.value_type)
        return "nested" if inner == "nested" or inner.startswith("list of ") else f"list of {inner}s"
    return "nested" if pa.types.is_nested(kind) else "string"


def _json_values(column: pa.Array) -> list[Any]:
    kind = column.type
    if pa.types.is_timestamp(kind):
        return _timestamps(column)
    plain = column.cast(_plain(kind)) if _plain(kind) != kind else column
    values: list[Any] = plain.to_pylist(**({"maps_as_pydicts": "lossy"} if _holds_map(kind) else {}))
    return values if _is_json_already(kind) else [_json_value(value) for value in values]


def _timestamps(column: pa.Array) -> list[Any]:
    """strftime would need the time zone database; without a zone the text is the same and needs none."""
    zoned = column.type.tz is not None
    texts = pc.strftime(column.cast(pa.timestamp(column.type.unit)), format="%Y-%m-%dT%H:%M:%S").to_pylist()
    return [text if text is None or not zoned else f"{text}Z" for text in texts]


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type to cast to so that Python's values of it are JSON's, but for bytes and for floats that are no numbers."""
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_duration(kind):
        return pa.int64()
    if pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
        return pa.string()
    if pa.types.is_map(kind):
        return pa.map_(_plain(kind.key_type), _plain(kind.item_type))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(pa.field(kind.value_field.name, _plain(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _plain(field.type)) for field in kind])
    return kind


def _holds_map(kind: pa.DataType) -> bool:
    return bool(pa.types.is_map(kind)) or any(_holds_map(kind.field(number).type) for number in range(kind.num_fields))


def _is_json_already(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _json_value(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    return value
