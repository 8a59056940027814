"""The hash of a row's kept columns: equal for equal values, whatever file format, Arrow type width or chunking they came in. Never over Arrow's memory."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

HASH_BYTES = 8
TYPE = pa.binary(HASH_BYTES)
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
NULL = b"\x00"


def meta_hash(table: pa.Table, columns: Sequence[str]) -> pa.Array:
    """BLAKE2b with 8 bytes of each row's values in `columns`, in that order: binary(8) [N], never null.

    Of each value a null flag, a tag of its kind, its length and its bytes: integers of any width are alike, floats are doubles with one NaN and one zero,
    times are seconds and nanoseconds, strings UTF-8, nested values JSON with sorted keys.
    """
    rows = table.num_rows
    if not rows:
        return pa.array([], TYPE)
    encoded = [_encode(table.column(name).combine_chunks()) for name in columns]
    if not encoded:
        return _digests(memoryview(b""), np.zeros(rows + 1, np.int64))
    whole = pc.binary_join_element_wise(*encoded, pa.scalar(b"", pa.large_binary())) if len(encoded) > 1 else encoded[0]
    _, offsets, data = whole.buffers()
    ends = np.frombuffer(offsets, np.int64, rows + 1, whole.offset * 8)
    return _digests(memoryview(data if data is not None else b""), ends)


def _digests(data: memoryview, offsets: np.ndarray) -> pa.Array:
    fresh = hashlib.blake2b(digest_size=HASH_BYTES).copy
    digests = bytearray()
    for start, end in itertools.pairwise(offsets.tolist()):
        state = fresh()
        state.update(data[start:end])
        digests += state.digest()
    return pa.Array.from_buffers(TYPE, len(offsets) - 1, [None, pa.py_buffer(bytes(digests))])


def _encode(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """large_binary [N]: tag, length and bytes of each value; NULL for a null."""
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    tag, values = _values(column)
    lengths = pc.fill_null(pc.binary_length(values), 0).to_numpy(zero_copy_only=False).astype("<i8")
    prefix = pa.Array.from_buffers(pa.binary(8), len(lengths), [None, pa.py_buffer(lengths.tobytes())]).cast(pa.large_binary())
    empty = pa.scalar(b"", pa.large_binary())
    whole = pc.binary_join_element_wise(pa.scalar(tag, pa.large_binary()), prefix, values, empty)
    return pc.fill_null(whole, pa.scalar(NULL, pa.large_binary()))


def _values(column: pa.Array) -> tuple[bytes, pa.Array]:
    """(tag of its kind, large_binary [N] with nulls)."""
    kind = column.type
    for is_kind, tag, encode in _KINDS:
        if is_kind(kind):
            return tag, encode(column)
    return b"j", _as_json(column)


def _as_bytes(column: pa.Array) -> pa.Array:
    return column.cast(pa.large_binary())


def _as_json(column: pa.Array) -> pa.Array:
    encoded = [None if value is None else json.dumps(value, sort_keys=True, ensure_ascii=False, default=_plain).encode() for value in column.to_pylist()]
    return pa.array(encoded, pa.large_binary())


def _plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _fixed(column: pa.Array, *parts: np.ndarray) -> pa.Array:
    """Eight bytes a part, side by side; null where the column is."""
    data = np.stack([part.astype(part.dtype.newbyteorder("<"), copy=False).view("<i8") for part in parts], axis=1)
    whole = pa.Array.from_buffers(pa.binary(8 * len(parts)), len(column), [None, pa.py_buffer(data.tobytes())]).cast(pa.large_binary())
    return pc.if_else(column.is_valid(), whole, pa.scalar(None, pa.large_binary()))


def _filled(column: pa.Array, kind: pa.DataType) -> np.ndarray:
    return np.ascontiguousarray(pc.fill_null(column.cast(kind), 0).to_numpy(zero_copy_only=False))


def _integers(column: pa.Array) -> pa.Array:
    if pa.types.is_uint64(column.type):
        above = pc.fill_null(pc.greater(column, pa.scalar(2**63 - 1, pa.uint64())), False)
        if pc.any(above).as_py():
            return pa.array([None if value is None else str(value).encode() for value in column.to_pylist()], pa.large_binary())
    return _fixed(column, _filled(column, pa.int64()))


def _floats(column: pa.Array) -> pa.Array:
    values = _filled(column, pa.float64()).copy()
    values[np.isnan(values)] = np.nan
    return _fixed(column, values + 0.0)


def _booleans(column: pa.Array) -> pa.Array:
    return _fixed(column, _filled(column.cast(pa.uint8()), pa.int64()))


def _days(column: pa.Array) -> pa.Array:
    return _fixed(column, _filled(column.cast(pa.date32(), safe=False).cast(pa.int32()), pa.int64()))


def _times(column: pa.Array) -> pa.Array:
    per_second = PER_SECOND[column.type.unit]
    width = pa.int32() if pa.types.is_time32(column.type) else pa.int64()
    seconds, rest = np.divmod(_filled(column.cast(width), pa.int64()), per_second)
    return _fixed(column, seconds, rest * (10**9 // per_second))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind))


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_time(kind) or pa.types.is_duration(kind))


def _nothing(column: pa.Array) -> pa.Array:
    return pa.nulls(len(column), pa.large_binary())


_KINDS: tuple[tuple[Callable[[pa.DataType], bool], bytes, Callable[[pa.Array], pa.Array]], ...] = (
    (_is_text, b"s", _as_bytes),
    (_is_binary, b"b", _as_bytes),
    (pa.types.is_integer, b"i", _integers),
    (pa.types.is_floating, b"f", _floats),
    (pa.types.is_boolean, b"t", _booleans),
    (pa.types.is_date, b"d", _days),
    (_is_time, b"m", _times),
    (pa.types.is_null, b"s", _nothing),
)
