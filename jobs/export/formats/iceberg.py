"""An Iceberg table in a SQLite catalog of its own: OUT/catalog.db and OUT/warehouse, one snapshot a piece.

    SqlCatalog("export", uri="sqlite:///OUT/catalog.db", warehouse="file://OUT/warehouse").load_table("embermill.embeddings")
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pyarrow as pa

from embermill.jobs.export.formats.tables import TableFormat, plain_schema, plain_table, require_module

CATALOG = "export"


class Iceberg(TableFormat):
    """Its types are those that Iceberg has (tables.plain_type). --option table=NAMESPACE.NAME."""

    options: ClassVar[Mapping[str, str]] = {"table": "embermill.embeddings"}

    def prepare(self) -> None:
        super().prepare()
        self._sql: Any = require_module("pyiceberg.catalog.sql", "pyiceberg[sql-sqlite]")
        out = self.out.absolute()
        self._catalog = {"uri": f"sqlite:///{out}/catalog.db", "warehouse": f"file://{out}/warehouse"}

    def count(self) -> int:
        if not (self.out / "catalog.db").exists():
            return 0
        snapshot = self._table().current_snapshot()
        return 0 if snapshot is None else int(snapshot.summary["total-records"])

    def append(self, table: pa.Table) -> None:
        self._table().append(plain_table(table))

    def finish(self) -> tuple[str, ...]:
        self._table()
        return ()

    def _table(self) -> Any:
        """It, made where it is missing."""
        (self.out / "warehouse").mkdir(exist_ok=True)
        catalog = self._sql.SqlCatalog(CATALOG, **self._catalog)
        try:
            catalog.create_namespace_if_not_exists(self.chosen["table"].rpartition(".")[0])
            return catalog.create_table_if_not_exists(self.chosen["table"], schema=plain_schema(self.source.schema))
        finally:
            catalog.close()
