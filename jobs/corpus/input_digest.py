"""A digest of all that was read for a shard, before an engine sees it: two readings of the same rows agree, and any other row shows.

It is of the rows, not of the bytes that held them: a corpus that was restored, moved or recompressed gives the same rows. How a reader cut
them into batches leaves no trace.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pyarrow as pa

from embermill.jobs.corpus.rows import RowBatch

DIGEST_BYTES = 16


class InputDigest:
    """Over ids, texts and kept columns, and over which rows were refused and why (the wording of an error may differ from version to version)."""

    def __init__(self) -> None:
        self._columns: list[_ColumnDigest] = []
        self._refused = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self._rows = 0

    def add(self, batch: RowBatch) -> None:
        columns = (pa.array(batch.rows), batch.ids, batch.texts, *batch.kept)
        self._columns = self._columns or [_ColumnDigest() for _ in columns]
        for digest, column in zip(self._columns, columns, strict=True):
            digest.add(column)
        for refusal in batch.refused:
            told = [refusal.row, refusal.row_count, refusal.id, refusal.first_row, refusal.first_byte, refusal.reason, refusal.text_bytes]
            self._refused.update(json.dumps(told).encode())
        self._rows += batch.num_rows

    def hexdigest(self) -> str:
        """32 hex digits."""
        whole = hashlib.blake2b(f"{self._rows}".encode() + self._refused.digest(), digest_size=DIGEST_BYTES)
        for column in self._columns:
            whole.update(column.digest())
        return whole.hexdigest()


class _ColumnDigest:
    """Of one column: which values there are, how long each is, and their bytes."""

    def __init__(self) -> None:
        self._parts = [hashlib.blake2b(digest_size=DIGEST_BYTES) for _ in range(3)]

    def add(self, column: pa.Array) -> None:
        valid, lengths, values = self._parts
        valid.update(column.is_valid().cast(pa.uint8()).to_numpy(zero_copy_only=False).tobytes())
        kind = column.type
        if pa.types.is_dictionary(kind) or pa.types.is_nested(kind) or _bytes_per_value(kind) is None:
            column, kind = _as_text(column), pa.large_string()
        if pa.types.is_large_string(kind):
            data, offsets = _string_buffers(column)
            values.update(data)
            lengths.update(np.diff(offsets).astype("<i8").tobytes())
        else:
            values.update(_fixed_width(column))

    def digest(self) -> bytes:
        return b"".join(part.digest() for part in self._parts)


def _bytes_per_value(kind: pa.DataType) -> int | None:
    """None for what is of no fixed number of whole bytes."""
    try:
        bits = int(kind.bit_width)
    except ValueError:
        return None
    return bits // 8 if bits % 8 == 0 and bits else None


def _as_text(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return column.cast(pa.large_binary()).view(pa.large_string())
    return pa.array([None if value is None else repr(value) for value in column.to_pylist()], pa.large_string())


def _string_buffers(column: pa.Array) -> tuple[memoryview, np.ndarray]:
    """(the bytes of all values, offsets [N + 1]); a null is empty."""
    if column.null_count:
        column = column.fill_null("")
    _, offsets, data = column.buffers()
    if offsets is None or not len(column):
        return memoryview(b""), np.zeros(1, np.int64)
    ends = np.frombuffer(offsets, np.int64, len(column) + 1, column.offset * 8)
    return memoryview(data if data is not None else b"")[ends[0] : ends[-1]], ends


def _fixed_width(column: pa.Array) -> bytes:
    """The values' bytes, zeros for nulls."""
    width = column.type.bit_width // 8
    data = column.buffers()[1]
    if data is None or not len(column):
        return b""
    values = np.frombuffer(data, np.uint8, len(column) * width, column.offset * width).reshape(-1, width)
    if column.null_count:
        values = np.where(column.is_valid().to_numpy(zero_copy_only=False)[:, None], values, np.uint8(0))
    return values.tobytes()
