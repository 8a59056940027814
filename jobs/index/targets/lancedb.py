"""`lancedb:PATH?table=docs`: a table of LanceDB, in a folder or an object store. Each call is one atomic version of the table.

Options: table (docs), metric, index: none (a scan, exact) or ivf_hnsw_sq, ivf_pq. The cursor lies in the table's configuration. A column of bits is compared
by the bits that differ, always by a scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa

from embermill.jobs.errors import UsageError
from embermill.jobs.index import FLOAT16, FLOAT32, UBINARY, Address, Layout, Standing, Target
from embermill.jobs.index.fit import Column, require_columns
from embermill.jobs.index.lock_file import LockFile
from embermill.jobs.index.sql import quoted_value
from embermill.jobs.storage.local_path import local_path

CURSOR = "embermill.cursor"
INDEXES = {"ivf_hnsw_sq": "IVF_HNSW_SQ", "ivf_pq": "IVF_PQ"}
OLD = timedelta(days=1)  # versions of the table are kept so long for who reads them
INDEXED_ROWS = 1 << 14  # from here on ids are found by an index
FRAGMENT_ROWS = 1 << 16
"""Smaller fragments are joined: those of many feeds. A first load writes larger ones, which would only be written once more."""


class LanceDBTarget(Target):
    limits = "lancedb"
    dtypes = (FLOAT32, FLOAT16, UBINARY)
    options = ("table", "index")
    unit_rows = 1 << 20  # a fragment; eight of them take a sixth more of the CPU time

    def __init__(self, address: Address) -> None:
        self.where = address.shown
        self._table_name, self._index = address.options.get("table", "docs"), address.options.get("index", "none")
        if self._index not in ("none", *INDEXES):
            raise UsageError(f"target {address.shown}: index={self._index}: expected none, {' or '.join(INDEXES)}")
        self._place = address.place if "://" in address.text and not address.text.startswith("lancedb:/") else str(local_path(address.place))
        self._lock = None if "://" in self._place else LockFile(Path(self._place, f"{self._table_name}.lock"))
        self._database: Any = None
        self._table: Any = None

    def lock(self) -> None:
        if self._lock is not None:
            self._lock.acquire()

    def describe(self) -> Standing | None:
        if self._table is None:
            if "://" not in self._place and not Path(self._place).exists():
                return None
            self._connect()
            if self._table_name not in self._database.list_tables(limit=1 << 20).tables:
                return None
            self._table = self._database.open_table(self._table_name)
        lists = [field.type for field in self._table.schema if pa.types.is_fixed_size_list(field.type)]
        sizes = [kind.list_size * (8 if pa.types.is_uint8(kind.value_type) else 1) for kind in lists]
        return Standing(self._table.count_rows(), sizes[0] if sizes else None, None, self._table.to_lance().config().get(CURSOR))

    def require_fit(self, layout: Layout) -> None:
        if self._table is not None:
            there = [Column(field.name, str(field.type), not field.nullable) for field in self._table.schema]
            wanted = {field.name: str(field.type) for field in layout.schema}
            vector = wanted[layout.vector.name]
            require_columns(self.where, there, wanted, lambda column, kind: kind != vector or column.startswith("fixed_size_list"))

    def prepare(self, layout: Layout) -> None:
        if self._index != "none" and layout.vector.dtype == UBINARY:
            raise UsageError(f"target {self.where}: index={self._index}: a column of bits has no such index: leave the option out")
        self._layout = layout
        if self._table is None:
            self._connect()
            self._table = self._database.create_table(self._table_name, schema=layout.schema)

    def upsert(self, rows: pa.RecordBatchReader, *, new: bool) -> None:
        if new:
            self._table.add(rows)
        else:
            self._table.merge_insert(self._known.id.name).when_matched_update_all().when_not_matched_insert_all().execute(rows)

    def delete(self, ids: pa.Array) -> None:
        self._table.delete(f"{self._id} IN ({', '.join(map(quoted_value, ids.to_pylist()))})")

    def commit(self, cursor: str) -> None:
        self._table.to_lance().update_config({CURSOR: cursor})
        self._table.checkout_latest()

    def finish(self, layout: Layout) -> None:
        """The three parts of LanceDB's `optimize`, of which compaction would write a first load's fragments again."""
        table = self._table.to_lance()
        table.optimize.compact_files(target_rows_per_fragment=FRAGMENT_ROWS)
        table.optimize.optimize_indices()
        self._table.checkout_latest()
        existing = {column for index in self._table.list_indices() for column in index.columns}
        rows = self._table.count_rows()
        if layout.id.name not in existing and rows >= INDEXED_ROWS:
            self._table.create_scalar_index(layout.id.name)
        if self._index != "none" and layout.vector.name not in existing and rows >= 256:
            self._table.create_index(metric=layout.metric, vector_column_name=layout.vector.name, index_type=INDEXES[self._index])
        self._table.to_lance().cleanup_old_versions(OLD)

    def count(self) -> int:
        return int(self._table.count_rows())

    def fetch(self, ids: pa.Array) -> pa.RecordBatch:
        names = [self._known.id.name, self._known.vector.name]
        wanted = f"{self._id} IN ({', '.join(map(quoted_value, ids.to_pylist()))})"
        found = self._table.search().where(wanted).select(names).limit(len(ids)).to_arrow().select(names).combine_chunks()
        return found.to_batches()[0] if found.num_rows else pa.RecordBatch.from_pylist([], schema=found.schema)

    def search(self, vectors: np.ndarray, k: int) -> Sequence[Sequence[Any]]:
        found, is_bits = [], self._known.vector.dtype == UBINARY
        for vector in vectors if is_bits else vectors.astype(np.float32):
            query = self._table.search(vector, vector_column_name=self._known.vector.name).distance_type("hamming" if is_bits else self._known.metric)
            found.append(query.select([self._known.id.name, "_distance"]).limit(k).to_arrow().column(self._known.id.name).to_pylist())
        return found

    def close(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def _connect(self) -> None:
        if self._database is None:
            self._database = lancedb.connect(self._place)

    @property
    def _id(self) -> str:
        return f"`{self._known.id.name.replace('`', '``')}`"
