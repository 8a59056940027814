"""JSON values and the Arrow types they are read as. Strings are never guessed to be dates or numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

INT64 = range(-(2**63), 2**63)
EXACT_IN_FLOAT64 = 2**53


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


def kinds_seen(values: Iterable[Any]) -> tuple[str, ...]:
    """What no one type stands for, in words; one entry where the values have a common type, none where there are none."""
    names: dict[type, str] = {bool: "true or false", int: "numbers", float: "numbers", str: "texts", dict: "objects", list: "lists"}
    return tuple(sorted({next((name for kind, name in names.items() if isinstance(value, kind)), "others") for value in values if value is not None}))


def _storable(kind: pa.DataType) -> pa.DataType:
    """Strings where nothing was seen, since Parquet has neither empty structs nor a use for lists of nothing."""
    if pa.types.is_list(kind):
        return pa.list_(_storable(kind.value_type))
    if pa.types.is_struct(kind) and kind.num_fields:
        return pa.struct([(kind.field(number).name, _storable(kind.field(number).type)) for number in range(kind.num_fields)])
    return pa.string() if pa.types.is_null(kind) or pa.types.is_struct(kind) else kind


def fits(value: Any, kind: pa.DataType) -> bool:
    """Whether a column of that type holds this value without loss: 2 among floats and 2.0 among integers are held, 0.5 among integers is not.

    Texts, truth values and numbers are never taken for one another. A date or a time, which only a declared type asks for, is a text in ISO 8601.
    """
    if value is None:
        return True
    if isinstance(value, Overflowing):
        return False
    if pa.types.is_string(kind):
        return isinstance(value, str)
    if pa.types.is_boolean(kind):
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if pa.types.is_integer(kind):
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer() and abs(value) <= EXACT_IN_FLOAT64)
        return whole and int(value) in _range(kind)
    if pa.types.is_floating(kind):
        return isinstance(value, int | float) and _fits_float(value, kind)
    if pa.types.is_list(kind):
        return isinstance(value, list) and all(fits(item, kind.value_type) for item in value)
    if pa.types.is_struct(kind):
        types = {kind.field(number).name: kind.field(number).type for number in range(kind.num_fields)}
        return isinstance(value, dict) and all(fits(item, types.get(name, pa.null())) for name, item in value.items())
    return pa.types.is_temporal(kind) and isinstance(value, str) and _parsed(value, kind) is not None


def _range(kind: pa.DataType) -> range:
    bits = kind.bit_width - pa.types.is_signed_integer(kind)
    return range(-(2**bits) if pa.types.is_signed_integer(kind) else 0, 2**bits)


def _fits_float(value: int | float, kind: pa.DataType) -> bool:
    try:
        with np.errstate(over="ignore"):
            held = float(np.dtype(kind.to_pandas_dtype()).type(value))
    except OverflowError:
        return False
    return held == value or value != value


def _parsed(text: str, kind: pa.DataType) -> Any:
    try:
        return pa.scalar(text).cast(kind).as_py()
    except (pa.ArrowException, ValueError, OverflowError):
        return None


class Overflowing(float):
    """A number that is written out and is too large for a float64, which would be infinity."""


def parse(line: str) -> Any:
    """One JSON value; ValueError and RecursionError as json has them."""
    return json.loads(line, parse_float=_parse_float)


def _parse_float(text: str) -> float:
    value = float(text)
    return Overflowing(value) if math.isinf(value) else value


def stored(value: Any, kind: pa.DataType) -> Any:
    """A value that fits, as Arrow takes it: an integer in a column of floats is a float (Arrow refuses those above 2**53)."""
    if value is None:
        return None
    if pa.types.is_floating(kind):
        return float(value)
    if pa.types.is_integer(kind):
        return int(value)
    if pa.types.is_temporal(kind):
        return _parsed(value, kind)
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
    if isinstance(value, Overflowing):
        raise Uncastable("a number too large for a float64")
    if pa.types.is_string(kind):
        return json.dumps(value, ensure_ascii=False)
    try:
        if pa.types.is_integer(kind) and isinstance(value, str | float) and float(value) == int(value) and fits(int(value), kind):
            return int(value)
        if pa.types.is_floating(kind) and isinstance(value, str) and fits(float(value), kind):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise Uncastable(f"{type_of([value])} {json.dumps(value, ensure_ascii=False)[:100]} is no {kind}")


def readable_fast(kind: pa.DataType) -> bool:
    """Whether Arrow's own reader, told this type, takes no value that `fits` does not, of what can be told by the type: it parses strings for dates."""
    if pa.types.is_list(kind):
        return readable_fast(kind.value_type)
    if pa.types.is_struct(kind):
        return all(readable_fast(kind.field(number).type) for number in range(kind.num_fields))
    return bool(pa.types.is_string(kind) or pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_float64(kind))
