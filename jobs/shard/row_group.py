"""Rows on their way to a row group of about 32 MiB, cut where the rows say so and never where a batch happened to end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from embermill.jobs.plan.files import Plan
from embermill.jobs.shard.contents import string_buffers

ROW_GROUP_BYTES = 32 << 20


class RowGroupBuffer:
    """Collects rows and hands out tables of the plan's schema, each one row group and each column one contiguous array.

    A group ends before the row that would take it over ROW_GROUP_BYTES: the same rows give the same groups, and so the same bytes,
    however they were batched. Memory is bounded by one group; a vector is copied once, into the group's own array.
    """

    def __init__(self, plan: Plan, buffers: int = 1) -> None:
        """buffers: of a group's vectors each; a table is valid until so many more were asked for."""
        self._schema = plan.schema
        self._fixed_bytes = sum(_fixed_bytes(field.type) for field in plan.schema)
        most = max(1, ROW_GROUP_BYTES // self._fixed_bytes)
        capacity = most if plan.rows.is_chunked else min(plan.rows_per_shard, most)  # a shard of chunks holds its last document whole
        self._stored, self._capacity, self._buffers = plan.stored, capacity, buffers
        self._vectors = self._room()
        self._filled: deque[dict[str, np.ndarray]] = deque()
        self._parts: dict[str, list[pa.Array]] = {name: [] for name in plan.schema.names if name not in self._vectors}
        self._rows = self._bytes = 0

    def add(self, columns: Mapping[str, pa.Array], vectors: Mapping[str, np.ndarray]) -> Iterator[pa.Table]:
        """columns: [N] each, every column but the vectors. vectors: [N, width] each, as they are stored. Yields the groups that became full.

        A table is valid until the next one is asked for: its vectors lie in the buffer that the next group reuses.
        """
        columns = {name: _of_type(columns[name], self._schema.field(name).type) for name in self._parts}
        rows = len(columns["text_hash"])
        sizes = np.cumsum(np.broadcast_to(self._fixed_bytes + sum(_variable_bytes(column) for column in columns.values()), rows))
        start = 0
        while start < rows:
            before = int(sizes[start - 1]) if start else 0
            end = max(start, int(np.searchsorted(sizes, ROW_GROUP_BYTES - self._bytes + before, side="right")))
            if end == start and not self._rows:
                end = start + 1  # a row larger than a group is a group
            self._append(columns, vectors, start, end)
            self._bytes += (int(sizes[end - 1]) if end else 0) - before
            if end < rows:
                yield self._take()
            start = end

    def rest(self) -> Iterator[pa.Table]:
        """The last, partly filled group, if there is one."""
        if self._rows:
            yield self._take()

    def _room(self) -> dict[str, np.ndarray]:
        return {each.column: np.empty((self._capacity, each.width), each.numpy_type) for each in self._stored}

    def _append(self, columns: Mapping[str, pa.Array], vectors: Mapping[str, np.ndarray], start: int, end: int) -> None:
        for name, parts in self._parts.items():
            parts.append(columns[name].slice(start, end - start))
        for name, buffer in self._vectors.items():
            buffer[self._rows : self._rows + end - start] = vectors[name][start:end]
        self._rows += end - start

    def _take(self) -> pa.Table:
        arrays = []
        for field in self._schema:
            if field.name in self._vectors:
                flat = pa.array(self._vectors[field.name][: self._rows].reshape(-1))
                arrays.append(pa.FixedSizeListArray.from_arrays(flat, type=field.type))
            else:
                arrays.append(pa.concat_arrays(self._parts[field.name]))
                self._parts[field.name] = []
        self._rows = self._bytes = 0
        if self._buffers > 1:
            self._filled.append(self._vectors)
            self._vectors = self._filled.popleft() if len(self._filled) >= self._buffers else self._room()
        return pa.Table.from_arrays(arrays, schema=self._schema)


def _of_type(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array if array.type.equals(kind) else array.cast(kind)


def _fixed_bytes(kind: pa.DataType) -> int:
    """What each row of the type costs before its variable part; at least 1 bit counts as a byte, an offset as 4."""
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size) * _fixed_bytes(kind.value_type)
    if pa.types.is_struct(kind):
        return sum(_fixed_bytes(field.type) for field in kind) + 1
    try:
        return max(1, int(kind.bit_width) // 8)
    except ValueError:
        return 4


def _variable_bytes(array: pa.Array) -> np.ndarray | int:
    """[N] int64: what each row holds beyond the fixed part of its type."""
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return np.diff(string_buffers(array)[1]).astype(np.int64)
    if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
        return np.diff(string_buffers(array.view(pa.string() if pa.types.is_binary(array.type) else pa.large_string()))[1]).astype(np.int64)
    if pa.types.is_map(array.type):
        return _variable_bytes(pa.ListArray.from_arrays(array.offsets, pa.StructArray.from_arrays([array.keys, array.items], ["key", "value"])))
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        inner = _fixed_bytes(array.type.value_type) + np.broadcast_to(_variable_bytes(array.values), len(array.values))
        ends: np.ndarray = np.concatenate([[0], np.cumsum(inner)])
        sizes: np.ndarray = np.diff(ends[array.offsets.to_numpy()])
        return sizes
    if pa.types.is_struct(array.type):
        fields: list[np.ndarray | int] = [_variable_bytes(array.field(number)) for number in range(array.type.num_fields)]
        return sum(fields, start=np.zeros(len(array), np.int64))
    return 0
