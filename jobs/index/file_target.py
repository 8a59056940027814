"""What targets share that are one file of this machine: the index itself, and beside it what such an index cannot hold.

    PATH                 the index, as its library reads it
    PATH.rows.parquet    key (the number that the index calls a row), id, kept columns
    PATH.cursor.json     the cursor
    PATH.lock            one loader at a time

All is held in memory while a load runs, and saved when as much came in as was there before, at the latest at the end: so each row is written twice at
most. Saved in the order above, each file replaced at once. A kill between two of them leaves rows that the cursor does not know of; the next load
writes those again.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embermill.jobs.index import Address, Layout, Standing, Target
from embermill.jobs.index.checking import vectors_of
from embermill.jobs.index.lock_file import LockFile
from embermill.jobs.index.row_keys import number_keys, require_no_collision
from embermill.jobs.storage.local_path import real_path

KEY = "embermill_key"
SAVE_ROWS = 1 << 20  # no save, but for the last, before so many rows came in


class FileTarget(Target):
    """A class of it says how its library makes, reads, changes and asks an index."""

    def __init__(self, address: Address) -> None:
        self.path = real_path(address.place)  # a link to it is another name of the same index, with its rows, cursor and lock
        self.where = address.shown
        self._lock = LockFile(self._beside("lock"))
        self._index: Any = None
        self._rows: pa.Table | None = None
        self._fresh: list[pa.Table] = []
        self._unsaved = 0
        self._cursor: str | None = None

    @abstractmethod
    def make_index(self, layout: Layout) -> Any: ...

    @abstractmethod
    def read_index(self, path: Path) -> Any: ...

    @abstractmethod
    def write_index(self, index: Any, path: Path) -> None: ...

    @abstractmethod
    def shape(self, index: Any) -> tuple[int, int, str | None]:
        """Rows, dimensions, metric."""
        ...

    @abstractmethod
    def add(self, index: Any, keys: np.ndarray, vectors: np.ndarray) -> None:
        """keys: [N] uint64, none of them there. vectors: [N, E] in the stored form."""
        ...

    @abstractmethod
    def remove(self, index: Any, keys: np.ndarray) -> None:
        """Those of them that are there."""
        ...

    @abstractmethod
    def get(self, index: Any, keys: np.ndarray) -> np.ndarray:
        """[N, E] of keys that are all there."""
        ...

    @abstractmethod
    def nearest(self, index: Any, vectors: np.ndarray, k: int) -> Iterable[np.ndarray]:
        """Of each vector, the keys of the k nearest."""
        ...

    def lock(self) -> None:
        self._lock.acquire()

    def describe(self) -> Standing | None:
        if not self.path.exists():
            return None
        if self._index is None:
            self._index = self.read_index(self.path)
            cursor = self._beside("cursor.json")
            self._cursor = cursor.read_text() if cursor.exists() else None
        return Standing(*self.shape(self._index), self._cursor)

    def prepare(self, layout: Layout) -> None:
        self._layout = layout
        if self._index is None:
            self._index = self.make_index(layout)
        table = self._beside("rows.parquet")
        if self._rows is None:
            self._rows = pq.read_table(table) if table.exists() and self.path.exists() else self._table_schema.empty_table()

    def upsert(self, rows: pa.RecordBatchReader, *, new: bool) -> None:
        tables = []
        for batch in rows:
            keys = number_keys(batch.column(0))
            if not new:
                self.remove(self._index, keys)
            self.add(self._index, keys, vectors_of(batch.column(1)))
            others = batch.drop_columns([self._known.vector.name])
            tables.append(pa.Table.from_arrays([pa.array(keys), *others.columns], schema=self._table_schema))
        if tables:
            table = pa.concat_tables(tables)
            if not new:
                self._drop_rows(table.column(KEY))
            self._fresh.append(table)
            self._unsaved += table.num_rows

    def delete(self, ids: pa.Array) -> None:
        keys = number_keys(ids)
        self.remove(self._index, keys)
        self._drop_rows(pa.chunked_array([pa.array(keys)]))
        self._unsaved += len(keys)

    def commit(self, cursor: str) -> None:
        self._cursor = cursor
        if not self.path.exists() or self._unsaved >= max(SAVE_ROWS, self.count() // 2):
            self._save()

    def finish(self, layout: Layout) -> None:
        self._save()

    def count(self) -> int:
        return self.shape(self._index)[0]

    def fetch(self, ids: pa.Array) -> pa.RecordBatch:
        keys = number_keys(ids)
        there = pc.is_in(pa.array(keys), self._table.column(KEY).combine_chunks()).to_numpy(zero_copy_only=False)
        vectors = self.get(self._index, keys[there])
        kind = self._known.vector.arrow_type
        values = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(vectors).reshape(-1), kind.value_type), type=kind)
        return pa.RecordBatch.from_arrays([ids.filter(pa.array(there)), values], names=["id", "vector"])

    def search(self, vectors: np.ndarray, k: int) -> Sequence[Sequence[Any]]:
        keys = [np.asarray(each, np.uint64) for each in self.nearest(self._index, vectors, k)]
        asked = pa.array(np.concatenate([np.empty(0, np.uint64), *keys]))
        places = pc.index_in(asked, self._table.column(KEY).combine_chunks())  # at once: each call puts every key there is into a hash table
        firsts = np.cumsum([0, *map(len, keys)])[:-1]
        ids = self._table.column(self._known.id.name)
        return [ids.take(places.slice(first, len(each)).drop_null()).to_pylist() for first, each in zip(firsts, keys, strict=True)]

    def close(self) -> None:
        self._lock.release()

    @property
    def _table_schema(self) -> pa.Schema:
        return pa.schema([pa.field(KEY, pa.uint64(), nullable=False), self._known.id, *self._known.columns])

    @property
    def _table(self) -> pa.Table:
        """key, id and kept columns of every row."""
        assert self._rows is not None
        if self._fresh:
            self._rows = pa.concat_tables([self._rows, *self._fresh])
            self._fresh = []
        return self._rows

    def _drop_rows(self, keys: pa.ChunkedArray) -> None:
        table = self._table
        gone = pc.is_in(table.column(KEY), keys.combine_chunks())
        self._rows = table.filter(pc.invert(gone))

    def _save(self) -> None:
        table = self._table
        require_no_collision(table.column(self._known.id.name), table.column(KEY).to_numpy(), self.where)
        self._replace(self.path, lambda path: self.write_index(self._index, path))
        self._replace(self._beside("rows.parquet"), lambda path: pq.write_table(table, path, compression="zstd"))
        self._replace(self._beside("cursor.json"), lambda path: path.write_text(self._cursor or ""))
        self._unsaved = 0

    def _replace(self, path: Path, write: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            write(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def _beside(self, what: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{what}")
