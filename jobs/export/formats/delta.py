"""A Delta table, OUT/table: one commit a piece."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from embermill.jobs.export.formats.tables import TableFormat, plain_schema, plain_table, require_module


class Delta(TableFormat):
    """Its types are those that Delta has (tables.plain_type)."""

    def prepare(self) -> None:
        super().prepare()
        self._delta: Any = require_module("deltalake", "deltalake")
        self._path = str(self.out / "table")

    def count(self) -> int:
        if not self._delta.DeltaTable.is_deltatable(self._path):
            return 0
        actions = pa.table(self._delta.DeltaTable(self._path).get_add_actions(flatten=True))
        return sum(actions.column("num_records").to_pylist())

    def append(self, table: pa.Table) -> None:
        self._delta.write_deltalake(self._path, plain_table(table), mode="append")

    def finish(self) -> tuple[str, ...]:
        if not self._delta.DeltaTable.is_deltatable(self._path):
            self._delta.write_deltalake(self._path, plain_schema(self.source.schema).empty_table())
        return ()
