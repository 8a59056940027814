"""Which columns of a dataset go into an index, and under which names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from embermill.jobs.dataset.metadata.schema import VERSION, row_schema
from embermill.jobs.errors import UsageError
from embermill.jobs.plan.files import Plan
from embermill.jobs.vectors.form import StoredVector

BOOKKEEPING = ("num_tokens", "num_tokens_dropped", "text_hash", VERSION)
"""Columns of a dataset that say how a row was made: no index needs them."""


@dataclass(frozen=True)
class IndexColumns:
    """id: the dataset's name of it; id_name: the index's. vector: the one that is loaded; vector_name: the index's name of it.

    metadata: (name in the dataset, name in the index), in the dataset's order. schema: of the metadata, under the index's names.
    """

    id: str
    id_name: str
    id_type: pa.DataType
    vector: StoredVector
    vector_name: str
    metadata: tuple[tuple[str, str], ...]
    schema: pa.Schema

    @property
    def stored(self) -> list[str]:
        """Names in the dataset of id and metadata: what to read beside the vector."""
        return [self.id, *(name for name, _ in self.metadata)]

    @property
    def names(self) -> dict[str, str]:
        """Name in the dataset -> name in the index, of id, vector, metadata, in this order."""
        return {self.id: self.id_name, self.vector.column: self.vector_name, **dict(self.metadata)}

    def rows(self, batch: pa.RecordBatch) -> tuple[pa.Array, pa.RecordBatch]:
        """(ids, metadata) of a batch that has the columns `stored`."""
        metadata = batch.select([name for name, _ in self.metadata])
        if not metadata.num_columns:  # such a batch has no rows of its own
            return batch.column(self.id), batch.select([])
        return batch.column(self.id), metadata.rename_columns(self.schema.names)


def index_columns(plan: Plan, vector: str | None = None, names: Mapping[str, str] | None = None) -> IndexColumns:
    """For `load`, `check` and `export` alike: the id, one vector column, and every column that was kept of the corpus or made for indexes.

    vector: the first vector column unless named. names: name in the dataset -> the index's name. UsageError for a column that is not there, and where two
    would have one name.
    """
    schema, outputs, names = row_schema(plan), {form.column: form for form in plan.stored}, dict(names or {})
    if vector is not None and vector not in outputs:
        raise UsageError(f"--vector {vector}: there is no such column of vectors: expected one of {', '.join(outputs)}")
    column = vector or next(iter(outputs))
    left_out = {plan.rows.id_name, *outputs, *BOOKKEEPING} - {name for _, name, _ in plan.rows.kept}  # an old dataset may have kept a column called `version`
    metadata = [name for name in schema.names if name not in left_out]
    known = [plan.rows.id_name, column, *metadata]
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"--map {unknown[0]}={names[unknown[0]]}: there is no column {unknown[0]!r} to rename: expected one of {', '.join(known)}")
    renamed = {name: names.get(name, name) for name in known}
    _require_distinct(renamed)
    fields = [schema.field(name).with_name(renamed[name]) for name in metadata]
    pairs = tuple((name, renamed[name]) for name in metadata)
    return IndexColumns(known[0], renamed[known[0]], plan.rows.id_type, outputs[column], renamed[column], pairs, pa.schema(fields))


def _require_distinct(names: Mapping[str, str]) -> None:
    called = [*names.values()]
    if twice := [name for name in called if called.count(name) > 1]:
        both = " and ".join(source for source, name in names.items() if name == twice[0])
        raise UsageError(f"--map: {both} would both be called {twice[0]!r} in the index: map one of them to another name")
