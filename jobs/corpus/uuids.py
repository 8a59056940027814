"""UUIDs as text: lower-case, with dashes. Extension types break readers of Parquet, and bytes are no name that a person can search for."""

from __future__ import annotations

import uuid

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.corpus.arrow_types import canonical, plain_array

NAMESPACE = uuid.UUID("6f5902ac-237c-5b1c-8a8b-5c1a3d3c9f55")  # of ids of embermill's datasets that are no UUIDs; never to be changed
BYTES, CHARACTERS = 16, 36
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_DIGITS = np.array([place for place in range(CHARACTERS) if place not in (8, 13, 18, 23)])  # the others are dashes
UUID_FORM = "(?i)^(urn:uuid:)?[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$"


def is_uuid(kind: pa.DataType) -> bool:
    """A column that its file says is of UUIDs."""
    return isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "arrow.uuid"


def uuid_type(kind: pa.DataType) -> pa.DataType:
    """string for what may hold UUIDs: sixteen bytes, or text; any other type is itself."""
    plain = canonical(kind)
    return pa.string() if plain == pa.binary(BYTES) else plain


def as_uuids(array: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """(the same as text with dashes, [N] bool: which of them are none; those stay as they are). array: of a type that uuid_type calls string."""
    plain = plain_array(array)
    if pa.types.is_fixed_size_binary(plain.type):
        return _spelled(plain), np.zeros(len(plain), bool)
    text = plain.cast(pa.string())
    fits = pc.fill_null(pc.match_substring_regex(text, UUID_FORM), True)
    digits = pc.replace_substring(pc.replace_substring(pc.ascii_lower(text), "urn:uuid:", ""), "-", "")
    dashed = pc.replace_substring_regex(digits, "^(.{8})(.{4})(.{4})(.{4})(.{12})$", r"\1-\2-\3-\4-\5")
    return pc.if_else(fits, dashed, text), ~fits.to_numpy(zero_copy_only=False)


def derived_uuids(ids: pa.Array) -> pa.Array:
    """Of each id the UUID (version 5) that follows from its text: the same in every dataset and on every machine."""
    texts = ids.cast(pa.string()).to_pylist()
    return pa.array([str(uuid.uuid5(NAMESPACE, text)) for text in texts], pa.string())


def _spelled(array: pa.Array) -> pa.Array:
    """fixed_size_binary(16), nulls stay null."""
    rows = len(array)
    filled = pc.fill_null(array, bytes(BYTES)) if array.null_count else array
    raw = np.frombuffer(filled.buffers()[1] or b"", np.uint8)[filled.offset * BYTES : (filled.offset + rows) * BYTES].reshape(rows, BYTES)
    text = np.full((rows, CHARACTERS), ord("-"), np.uint8)
    text[:, _DIGITS[0::2]], text[:, _DIGITS[1::2]] = _HEX[raw >> 4], _HEX[raw & 15]
    offsets = np.arange(0, (rows + 1) * CHARACTERS, CHARACTERS, dtype=np.int32)
    strings = pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(text.tobytes()))
    return pc.if_else(array.is_valid(), strings, pa.scalar(None, pa.string())) if array.null_count else strings
