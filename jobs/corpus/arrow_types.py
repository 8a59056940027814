"""Arrow types as the corpus has them and as the dataset stores them: one logical type behind many encodings, and casts that lose no row in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa

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
    advice = f"mend the file, or {setting}"
    return DataError(f"{file}: column {column!r} {what}; this job reads it as {pinned}: {advice}")


def cast_by_row(array: pa.Array, target: pa.DataType) -> tuple[pa.Array, dict[int, str]]:
    """Cast without loss; a value that cannot be cast becomes null, and its row and error are returned."""
    try:
        return array.cast(target), {}
    except pa.ArrowNotImplementedError as error:  # no value of this type can be cast
        return pa.nulls(len(array), target), {row: str(error) for row in range(len(array)) if array[row].is_valid}
    except pa.ArrowInvalid:
        pass
    failures = dict(_failing_rows(array, lambda part: part.cast(target)))
    keep = pa.array([row not in failures for row in range(len(array))])
    return pa.compute.if_else(keep, array, pa.scalar(None, array.type)).cast(target), failures


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
