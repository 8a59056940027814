"""A Lance dataset, OUT/data.lance: one version of it a piece."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from embermill.jobs.export.formats.tables import TableFormat, require_module


class Lance(TableFormat):
    def prepare(self) -> None:
        super().prepare()
        self._lance: Any = require_module("lance", "pylance")
        self._path = str(self.out / "data.lance")

    def count(self) -> int:
        return int(self._lance.dataset(self._path).count_rows()) if (self.out / "data.lance/_versions").exists() else 0

    def append(self, table: pa.Table) -> None:
        self._lance.write_dataset(table, self._path, mode="append" if self.count() else "create", data_storage_version="stable")

    def finish(self) -> tuple[str, ...]:
        if not self.source.rows:
            self._lance.write_dataset(self.source.schema.empty_table(), self._path, mode="overwrite")
        return ()
