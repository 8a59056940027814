"""JSON values and the Arrow types they are read as. Strings are never guessed to be dates or numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

INT64 = range(-(2**63), 2**63)


class Uncastable(ValueError):
    """A value that cannot become what the plan has."""


def type_of(values: Iterable[Any]) -> pa.DataType:
    """The type of a column in which these values were seen; null where there was none, string where they have no common type."""
    seen = [value for value in values if value is not None]
    kinds = {type(value) for value in seen}
    if not seen:
        return pa.null()
    if kinds == {int} and all(value in INT64 for value in seen):
        return pa.int64()
    if kinds == {int} and all(0 <= value < 2**64 for value in seen):
        return pa.uint64()
    if kinds <= {int, float}:
        return pa.float64()
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {dict} or kinds == {list}:
        try:
            return _storable(pa.infer_type(seen))
        except (pa.ArrowException, OverflowError):
            return pa.string()
    return pa.string()


def _storable(kind: pa.DataType) -> pa.DataType:
    """Strings where nothing was seen, since Parquet has neither empty structs nor a use for lists of nothing."""
    if pa.types.is_list(kind):
        return pa.list_(_storable(kind.value_type))
    if pa.types.is_struct(kind) and kind.num_fields:
        return pa.struct([(kind.field(number).name, _storable(kind.field(number).type)) for number in range(kind.num_fields)])
    return pa.string() if pa.types.is_null(kind) or pa.types.is_struct(kind) else kind


def fits(value: Any, kind: pa.DataType) -> bool:
    """Is this value of that type, as it stands?"""
    if value is None:
        return True
    if pa.types.is_string(kind):
        return isinstance(value, str)
    if pa.types.is_boolean(kind):
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if pa.types.is_integer(kind):
        signed = pa.types.is_signed_integer(kind)
        bits = kind.bit_width - signed
        return isinstance(value, int) and (-(2**bits) if signed else 0) <= value < 2**bits
    if pa.types.is_floating(kind):
        return isinstance(value, float) or (isinstance(value, int) and _is_finite(value))
    if pa.types.is_list(kind):
        return isinstance(value, list) and all(fits(item, kind.value_type) for item in value)
    if pa.types.is_struct(kind):
        fields = [kind.field(number) for number in range(kind.num_fields)]
        return isinstance(value, dict) and all(fits(value.get(field.name), field.type) for field in fields)
    return False


def _is_finite(value: int) -> bool:
    try:
        float(value)
    except OverflowError:
        return False
    return True


def stored(value: Any, kind: pa.DataType) -> Any:
    """A value that fits, as Arrow takes it: an integer in a column of floats is a float (Arrow refuses those above 2**53)."""
    if value is None:
        return None
    if pa.types.is_floating(kind):
        return float(value)
    if pa.types.is_list(kind):
        return [stored(item, kind.value_type) for item in value]
    if pa.types.is_struct(kind):
        fields = [kind.field(number) for number in range(kind.num_fields)]
        return {field.name: stored(value.get(field.name), field.type) for field in fields}
    return value


def cast(value: Any, kind: pa.DataType) -> Any:
    """The value as that type, without loss; anything becomes a string (as JSON writes it). Raises Uncastable."""
    if fits(value, kind):
        return value
    if pa.types.is_string(kind):
        return json.dumps(value, ensure_ascii=False)
    try:
        if pa.types.is_integer(kind) and isinstance(value, str | float) and float(value) == int(value) and fits(int(value), kind):
            return int(value)
        if pa.types.is_floating(kind) and isinstance(value, str):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise Uncastable(f"{type_of([value])} {json.dumps(value, ensure_ascii=False)[:100]} is no {kind}")


def readable_fast(kind: pa.DataType) -> bool:
    """Whether Arrow's own reader, told this type, takes exactly the values that `fits` takes: it parses strings for dates and decimals."""
    if pa.types.is_list(kind):
        return readable_fast(kind.value_type)
    if pa.types.is_struct(kind):
        return all(readable_fast(kind.field(number).type) for number in range(kind.num_fields))
    return bool(pa.types.is_string(kind) or pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_float64(kind))
