"""The rows of a version in their order, from any row on, in parts of bounded size."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from embermill.jobs.dataset.metadata.schema import VERSION, row_schema
from embermill.jobs.dataset.metadata.versions import Version
from embermill.jobs.dataset.views.live import LiveRows
from embermill.jobs.index.columns import IndexColumns
from embermill.jobs.plan.files import Plan
from embermill.jobs.shard.contents import to_matrix
from embermill.jobs.storage import Folder

PART_ROWS, PART_BYTES = 2_048, 2 << 20  # of a part at most, but for a row that is larger


@dataclass(frozen=True)
class Part:
    """Consecutive rows. batch: of row_schema."""

    batch: pa.RecordBatch
    columns: IndexColumns

    @property
    def rows(self) -> int:
        return int(self.batch.num_rows)

    @cached_property
    def ids(self) -> pa.Array:
        return self.batch.column(self.columns.id)

    @cached_property
    def metadata(self) -> pa.RecordBatch:
        """The kept columns under their names in the index."""
        return self.columns.rows(self.batch)[1]

    @cached_property
    def vectors(self) -> np.ndarray:
        """[N, dim] in the column's own type."""
        return to_matrix(pa.chunked_array([self.batch.column(self.columns.vector.column)]))

    @property
    def versions(self) -> np.ndarray:
        """[N] int64: of the dataset, in which each row last changed. One whose column `version` is the corpus's own has a first version alone."""
        if VERSION in self.columns.names:
            return np.ones(self.rows, np.int64)
        found: np.ndarray = self.batch.column(VERSION).to_numpy()
        return found


@dataclass(frozen=True)
class Source:
    """One version of a dataset, as it is exported."""

    folder: Folder
    plan: Plan
    version: Version
    columns: IndexColumns

    @property
    def dataset(self) -> str:
        """Which dataset this is, wherever it lies: its first plan is never written again."""
        return hashlib.sha256(self.folder.read("_embermill/plan/000001/root.json")).hexdigest()[:32]

    @property
    def rows(self) -> int:
        return self.version.totals["rows"]

    @cached_property
    def schema(self) -> pa.Schema:
        """Of the parts' batches."""
        return row_schema(self.plan)

    def ids(self) -> Iterator[pa.Array]:
        """All of them, in row order; nothing else is read."""
        for batch in LiveRows(self.folder, self.plan, self.version).batches([self.columns.id]):
            yield batch.column(0)

    def parts(self, first_row: int = 0) -> Iterator[Part]:
        """Rows [first_row, rows). Files before that are not opened, but for the ids that say what of them is live.

        first_row: where a part began when all rows were read, so that an export which goes on cuts its rows where an undisturbed one does.
        """
        live, start = LiveRows(self.folder, self.plan, self.version), 0
        for file in live.files():
            if start + file.rows > first_row:
                for batch in live.read(file):
                    skipped = min(batch.num_rows, max(0, first_row - start))
                    start += batch.num_rows
                    rows = max(1, min(PART_ROWS, PART_BYTES * batch.num_rows // max(1, batch.nbytes)))  # the same whenever these rows are read
                    for at in range(skipped, batch.num_rows, rows):
                        yield Part(batch.slice(at, rows), self.columns)
            else:
                start += file.rows
