"""Batches of another size, for a target that does best with large ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from embermill.jobs.index.checking import vectors_of


def regrouped(rows: pa.RecordBatchReader, size: int, column: int) -> pa.RecordBatchReader:
    """The same rows in batches of `size`, but for the last. column: the place of the vectors, which are copied into one array as they come: at no time are
    they held twice, and what they took goes back to the system with the batch."""
    return pa.RecordBatchReader.from_batches(rows.schema, _batches(rows, size, column))


def _batches(rows: pa.RecordBatchReader, size: int, column: int) -> Iterator[pa.RecordBatch]:
    group = _Group(rows.schema, size, column)
    for batch in rows:
        first = 0
        while first < batch.num_rows:
            part = batch.slice(first, size - group.rows)
            group.add(part)
            first += part.num_rows
            if group.rows == size:
                full, group = group, _Group(rows.schema, size, column)
                yield full.batch()
                del full
    if group.rows:
        yield group.batch()


class _Group:
    """Rows of one batch to be, as they come."""

    def __init__(self, schema: pa.Schema, size: int, column: int) -> None:
        self.rows = 0
        self._schema, self._column, self._others = schema, column, list[pa.RecordBatch]()
        self._kind = schema.field(column).type
        self._vectors = np.empty((size, self._kind.list_size), self._kind.value_type.to_pandas_dtype())  # not touched yet, so not in memory

    def add(self, part: pa.RecordBatch) -> None:
        self._vectors[self.rows : self.rows + part.num_rows] = vectors_of(part.column(self._column))
        self._others.append(part.remove_column(self._column))
        self.rows += part.num_rows

    def batch(self) -> pa.RecordBatch:
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(self._vectors[: self.rows].reshape(-1)), type=self._kind)
        others = pa.Table.from_batches(self._others).combine_chunks().to_batches()[0].columns
        return pa.RecordBatch.from_arrays([*others[: self._column], vectors, *others[self._column :]], schema=self._schema)
