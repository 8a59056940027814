"""Which columns of a dataset go into an index, and under which names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """id: the dataset's name of it. vector: the one that is loaded. metadata: (name in the dataset, name in the index), in the dataset's order.
    schema: of the metadata, under the index's names."""

    id: str
    id_type: pa.DataType
    vector: StoredVector
    metadata: tuple[tuple[str, str], ...]
    schema: pa.Schema

    @property
    def stored(self) -> list[str]:
        """Names in the dataset of id and metadata: what to read beside the vector."""
        return [self.id, *(name for name, _ in self.metadata)]

    def rows(self, batch: pa.RecordBatch) -> tuple[pa.Array, pa.RecordBatch]:
        """(ids, metadata) of a batch that has the columns `stored`."""
        metadata = batch.select([name for name, _ in self.metadata])
        if not metadata.num_columns:  # such a batch has no rows of its own
            return batch.column(self.id), batch.select([])
        return batch.column(self.id), metadata.rename_columns(self.schema.names)


def index_columns(plan: Plan, vector: str | None = None, names: Mapping[str, str] | None = None, version_column: bool = False) -> IndexColumns:
    """vector: the first vector column unless named. names: dataset's name -> the index's name. version_column: `version` goes along, too.

    UsageError for a column that is not there, and where two columns would have one name.
    """
    schema, outputs, names = row_schema(plan), {form.column: form for form in plan.stored}, dict(names or {})
    if vector is not None and vector not in outputs:
        raise UsageError(f"there is no vector column {vector!r}: expected one of {', '.join(outputs)}")
    left_out = {plan.rows.id_name, *outputs, *(name for name in BOOKKEEPING if not (version_column and name == VERSION))}
    left_out -= {name for _, name, _ in plan.rows.kept}  # an old dataset may have kept a column of the corpus called `version`
    stored = [name for name in schema.names if name not in left_out]
    if unknown := [name for name in names if name not in stored]:
        raise UsageError(f"--map {unknown[0]}={names[unknown[0]]}: there is no such column to load: expected one of {', '.join(stored) or 'none'}")
    pairs = tuple((name, names.get(name, name)) for name in stored)
    _require_distinct([*(name for _, name in pairs)])
    fields = [schema.field(name).with_name(other) for name, other in pairs]
    return IndexColumns(plan.rows.id_name, plan.rows.id_type, outputs[vector or next(iter(outputs))], pairs, pa.schema(fields))


def _require_distinct(names: Sequence[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"--map: two columns would be called {twice[0]!r} in the index: give them different names")
