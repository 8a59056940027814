"""Arrow types as the corpus has them and as the dataset stores them: one logical type behind many encodings, and casts that lose no row in silence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.errors import DataError


def canonical(kind: pa.DataType) -> pa.DataType:
    """The type that stands for all encodings of it: no dictionary, no view, no 64-bit offsets, no extension."""
    if isinstance(kind, pa.BaseExtensionType):
        return canonical(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return canonical(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return pa.list_(_field(kind.value_field))
    if pa.types.is_struct(kind):
        return pa.struct([_field(kind.field(number)) for number in range(kind.num_fields)])
    return kind


def _field(field: pa.Field) -> pa.Field:
    return pa.field(field.name, canonical(field.type), field.nullable)


def id_type(kind: pa.DataType) -> pa.DataType:
    """Integers keep their type; every other id becomes a string."""
    plain = canonical(kind)
    return plain if pa.types.is_integer(plain) else pa.string()


def text_type(kind: pa.DataType) -> pa.DataType:
    """A text column may be stored as bytes without the mark that they are UTF-8."""
    plain = canonical(kind)
    return pa.string() if pa.types.is_binary(plain) else plain


def plain_array(array: pa.Array) -> pa.Array:
    """The same values in their canonical type, UTF-8 unchecked; strings with 64-bit offsets keep them."""
    if isinstance(array, pa.ExtensionArray):
        return plain_array(array.storage)
    if pa.types.is_dictionary(array.type):
        return plain_array(array.dictionary_decode())
    if pa.types.is_string_view(array.type):
        return array.cast(pa.large_string() if array.nbytes > 1 << 30 else pa.string())
    if pa.types.is_large_string(array.type) or array.type == canonical(array.type):
        return array
    return array.cast(canonical(array.type))


def as_text(array: pa.Array) -> pa.Array:
    """string or large_string, UTF-8 unchecked (a cast from binary would check, and fail the whole batch)."""
    plain = plain_array(array)
    if pa.types.is_binary(plain.type):
        return plain.view(pa.string())
    return plain


def as_id(array: pa.Array) -> pa.Array:
    """Integers as they are; everything else as string."""
    plain = plain_array(array)
    if pa.types.is_integer(plain.type):
        return plain
    if pa.types.is_fixed_size_binary(plain.type):
        return pa.array([None if value is None else value.hex() for value in plain.to_pylist()], pa.string())
    if pa.types.is_binary(plain.type):
        return plain.view(pa.string())
    return plain.cast(pa.string())


def drifted(file: str, column: str, found: pa.DataType | None, pinned: pa.DataType) -> DataError:
    """on_schema_drift: fail. pinned: string where it is a text, else the type in the first file that has the column."""
    what = "is missing" if found is None else f"has type {found}"
    setting = "set corpus.on_schema_drift to cast or null (once a dataset is begun, with another output.uri)"
    if found is not None and pa.types.is_nested(found) and pa.types.is_string(pinned):  # neither setting makes a text of it
        setting = "flatten the column in the corpus, or name another one"
    advice = f"fix the file, or {setting}"
    return DataError(f"{file}: column {column!r} {what}; this job reads it as {pinned}: {advice}")


def declaration(column: str, kind: str) -> str:
    """What to write so that a column has this type from the beginning."""
    return f"declare corpus.types: {{{column}: {kind}}} (in a new dataset)"


def cast_by_row(array: pa.Array, target: pa.DataType) -> tuple[pa.Array, dict[int, str]]:
    """Cast without loss; a value that cannot be cast, or would be another one afterwards, becomes null, and its row and error are returned."""
    failures: dict[int, str] = {}
    try:
        cast = array.cast(target)
    except pa.ArrowNotImplementedError as error:  # no value of this type can be cast
        return pa.nulls(len(array), target), {row: str(error) for row in range(len(array)) if array[row].is_valid}
    except pa.ArrowInvalid:
        failures = dict(_failing_rows(array, lambda part: part.cast(target)))
        keep = pa.array([row not in failures for row in range(len(array))])
        cast = pc.if_else(keep, array, pa.scalar(None, array.type)).cast(target)
    for row in np.flatnonzero(_changed(array, cast)):
        failures.setdefault(int(row), f"{array[int(row)].as_py()!r:.100} of type {array.type} does not fit {target} without loss")
    return _without(cast, failures), failures


def _without(array: pa.Array, rows: Collection[int]) -> pa.Array:
    """Null in these rows."""
    if not rows or array.null_count == len(array):
        return array
    places = np.arange(len(array))
    places_or_none = pa.array(places, mask=np.isin(places, list(rows)))
    return array.take(places_or_none)


def _changed(array: pa.Array, cast: pa.Array) -> np.ndarray:
    """[N] bool: values that a cast which Arrow calls safe has changed: it narrows floats, cuts the time off a date, and makes infinity of 1e999.

    What becomes a string keeps all it was; what came from one is only looked at for infinities.
    """
    nothing = np.zeros(len(array), bool)
    if array.type == cast.type or pa.types.is_string(cast.type) or pa.types.is_large_string(cast.type):
        return nothing
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        if not pa.types.is_floating(cast.type):
            return nothing
        infinite = pc.fill_null(pc.is_inf(cast), False)
        written_out = pc.invert(pc.fill_null(pc.match_substring(array, "inf", ignore_case=True), False))
        return np.asarray(pc.and_(infinite, written_out), bool)
    try:
        back = cast.cast(array.type, safe=False)
        same = pc.or_(pc.equal(back, array), pc.and_(pc.is_null(back, nan_is_null=True), pc.is_null(array, nan_is_null=True)))
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):  # nested
        pairs = zip(array.to_pylist(), cast.to_pylist(), strict=True)
        return np.fromiter((repr(before) != repr(after) for before, after in pairs), bool, len(array))
    return np.asarray(pc.and_(pc.invert(pc.fill_null(same, False)), pc.is_valid(cast)), bool)


def invalid_utf8_rows(array: pa.Array) -> Iterator[tuple[int, str]]:
    """(row, error) for every value, however nested, that is not valid UTF-8."""
    if pa.types.is_nested(array.type):  # validate looks at all values below a slice, so each part is copied
        return _failing_rows(array, lambda part: part.take(pa.array(range(len(part)), pa.int64())).validate(full=True))
    return _failing_rows(array, lambda part: part.validate(full=True))


def _failing_rows(array: pa.Array, attempt: Callable[[pa.Array], object], first: int = 0) -> Iterator[tuple[int, str]]:
    """Rows on which `attempt` fails, found by halving: one call where nothing is wrong."""
    try:
        attempt(array)
    except pa.ArrowInvalid as error:
        if len(array) == 1:
            yield first, str(error)
            return
        half = len(array) // 2
        yield from _failing_rows(array.slice(0, half), attempt, first)
        yield from _failing_rows(array.slice(half), attempt, first + half)
