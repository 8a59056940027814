"""A whole target in a few lines, of nothing but SQLite: `python:tests.jobs.index.sqlite_target:SqliteTarget?path=FILE`.

What a class of one's own may look like, and what the procedure is tested with. Dies where it is told to.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from embermill.jobs.errors import AnotherRun
from embermill.jobs.index import Address, Layout, Standing, Target

TABLE = "CREATE TABLE IF NOT EXISTS rows (id PRIMARY KEY, vector BLOB, columns TEXT)"


class Killed(BaseException):
    """The process, at an operation."""


class SqliteTarget(Target):
    """Rows and cursor in one transaction; with ?transactional=no each batch is committed by itself, and the cursor after them."""

    options = ("path", "transactional")
    operations = 0
    """Of all instances: batches written or deleted, and commits."""
    dies_at = -1
    """The operation at which the process dies."""

    def __init__(self, address: Address) -> None:
        self._database = sqlite3.connect(address.options["path"], isolation_level=None, timeout=0, check_same_thread=False)
        self._lock = sqlite3.connect(address.options["path"] + ".lock", isolation_level=None, timeout=0)
        self.transactional = address.options.get("transactional") != "no"
        self._layout: Layout | None = None

    def lock(self) -> None:
        try:
            self._lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            raise AnotherRun("another loader is at work") from None

    def describe(self) -> Standing | None:
        tables = {name for (name,) in self._database.execute("SELECT name FROM sqlite_master")}
        if "rows" not in tables:
            return None
        cursor = self._database.execute("SELECT text FROM cursor").fetchone() if "cursor" in tables else None
        shape = self._database.execute("SELECT length(vector) FROM rows").fetchone()
        return Standing(self.count(), shape[0] // 4 if shape else None, None, cursor[0] if cursor else None)

    def prepare(self, layout: Layout) -> None:
        self._layout = layout
        self._database.execute(TABLE)

    def upsert(self, rows: pa.RecordBatchReader, *, new: bool) -> None:
        assert self._layout is not None
        for batch in rows:
            self._begin()
            ids, vectors = batch.column(0).to_pylist(), batch.column(1).flatten().to_numpy().reshape(batch.num_rows, -1)
            columns = [json.dumps(row, sort_keys=True) for row in batch.select(batch.schema.names[2:]).to_pylist()] or ["{}"] * batch.num_rows
            values = [(each, vector.tobytes(), kept) for each, vector, kept in zip(ids, vectors, columns, strict=True)]
            self._database.executemany(f"INSERT {'' if new else 'OR REPLACE'} INTO rows VALUES (?, ?, ?)", values)
            self._operation()

    def delete(self, ids: pa.Array) -> None:
        self._begin()
        self._database.executemany("DELETE FROM rows WHERE id = ?", [(each,) for each in ids.to_pylist()])
        self._operation()

    def commit(self, cursor: str) -> None:
        self._begin()
        self._database.execute("CREATE TABLE IF NOT EXISTS cursor (one INTEGER PRIMARY KEY CHECK (one = 1), text TEXT)")
        self._database.execute("INSERT OR REPLACE INTO cursor VALUES (1, ?)", (cursor,))
        self._operation(before=True)
        self._database.execute("COMMIT")

    def finish(self, layout: Layout) -> None:
        pass

    def count(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM rows").fetchone()[0])

    def fetch(self, ids: pa.Array) -> pa.RecordBatch:
        assert self._layout is not None
        found = [row for each in ids.to_pylist() for row in self._database.execute("SELECT id, vector FROM rows WHERE id = ?", (each,))]
        vectors = np.frombuffer(b"".join(vector for _, vector in found), np.float32)
        columns = [pa.array([each for each, _ in found], self._layout.id.type), pa.FixedSizeListArray.from_arrays(vectors, type=self._layout.vector.arrow_type)]
        return pa.RecordBatch.from_arrays(columns, names=[self._layout.id.name, self._layout.vector.name])

    def search(self, vectors: np.ndarray, k: int) -> Sequence[Sequence[Any]]:
        rows = self._database.execute("SELECT id, vector FROM rows").fetchall()
        known = np.stack([np.frombuffer(vector, np.float32) for _, vector in rows])
        near = vectors @ (known / np.linalg.norm(known, axis=1, keepdims=True)).T
        return [[rows[place][0] for place in order] for order in np.argsort(-near, axis=1)[:, :k]]

    def close(self) -> None:
        self._database.close()
        self._lock.close()

    def _begin(self) -> None:
        if not self._database.in_transaction:
            self._database.execute("BEGIN")

    def _operation(self, before: bool = False) -> None:
        type(self).operations += 1
        if type(self).operations == type(self).dies_at:
            raise Killed
        if not self.transactional and not before:
            self._database.execute("COMMIT")


@contextmanager
def opened(path: str | Path) -> Iterator[sqlite3.Connection]:
    """One transaction, and closed afterwards: `with sqlite3.connect(…)` closes nothing, of which Python 3.13 warns."""
    with closing(sqlite3.connect(path)) as database, database:
        yield database


def contents(path: str) -> dict[Any, tuple[bytes, str]]:
    with opened(path) as database:
        return {each: (vector, columns) for each, vector, columns in database.execute("SELECT * FROM rows")}
