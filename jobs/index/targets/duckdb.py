"""`duckdb:PATH?table=docs`: a table of a DuckDB database. Rows and cursor in one transaction.

Options: table (docs), metric, index: none (a scan, exact), or hnsw through the extension vss, whose index DuckDB keeps in memory and persists only as an
experiment.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from embermill.jobs.errors import AnotherRun, UsageError
from embermill.jobs.index import COSINE, DOT, FLOAT32, L2, Address, Layout, Standing, Target
from embermill.jobs.index.fit import Column, folded, refuse_view, require_columns, require_distinct, require_name
from embermill.jobs.index.lock_file import LockFile
from embermill.jobs.index.regrouping import regrouped
from embermill.jobs.index.sql import CURSOR_TABLE, quoted, quoted_value
from embermill.jobs.storage.local_path import real_path

DISTANCES = {COSINE: "array_cosine_distance", DOT: "array_negative_inner_product", L2: "array_distance"}
MAGIC, MAGIC_AT = b"DUCK", 8  # in the header of each of its files
COMMIT_ROWS = 1 << 20
"""Of a first load, in one transaction. DuckDB writes whole row groups (122,880 rows) straight into the file; what is committed before one is full goes through
its log and is written once more."""
ROW_GROUP = 122_880
GROUP_BYTES = 512 << 20
"""Of the vectors of a row group, up to which a first load hands over whole ones. DuckDB compresses each of them on a core of its own, and holds as many at
once as it has threads; smaller batches fill one row group at a time, on one core."""
HERE = "table_catalog = current_database() AND table_schema = current_schema()"
VSS_METRICS = {COSINE: "cosine", DOT: "ip", L2: "l2sq"}


class DuckDBTarget(Target):
    limits = "duckdb"
    dtypes = (FLOAT32,)
    options = ("table", "index")
    transactional = True
    has_alias = True

    def __init__(self, address: Address) -> None:
        self.where, self._path = address.shown, real_path(address.place)
        self._table = require_name(address.shown, address.options.get("table", "docs"), folded)
        self._index = address.options.get("index", "none")
        if self._index not in ("none", "hnsw"):
            raise UsageError(f"target {address.shown}: index={self._index}: expected none or hnsw")
        self._lock = LockFile(self._path.with_name(f"{self._path.name}.lock"))
        self._there = self._path.exists()
        self._database: duckdb.DuckDBPyConnection | None = None

    @property
    def _sql(self) -> duckdb.DuckDBPyConnection:
        if self._database is None:
            self._database = self._connect() if self._there or self._layout is not None else duckdb.connect(":memory:")
            if self._index == "hnsw":
                self._load_vss(self._database)
        return self._database

    def _connect(self) -> duckdb.DuckDBPyConnection:
        """A file that cannot be made whole is not left there: it would be no database, and the same load could not begin anew."""
        is_new = not self._path.exists()
        if not is_new:
            self._require_database()
        try:
            return duckdb.connect(str(self._path))
        except duckdb.Error:
            if is_new:
                self._path.unlink(missing_ok=True)
            raise

    def _require_database(self) -> None:
        """DuckDB opens files of other kinds as tables that are in memory, where a load would be lost."""
        with self._path.open("rb") as file:
            found = file.read(MAGIC_AT + len(MAGIC))[MAGIC_AT:]
        if found != MAGIC:
            raise UsageError(f"{self._path}: expected a DuckDB database, or a file that is not there yet, and this one is something else: name another file")

    def lock(self) -> None:
        """DuckDB lets one process at a time open a file for writing; a file that is new is not open yet."""
        self._lock.acquire()
        try:
            self._sql  # noqa: B018 (connects)
        except duckdb.IOException as error:
            if "Could not set lock" not in str(error):
                raise
            raise AnotherRun(f"{self._path}: another process has this database open: {str(error).splitlines()[0]}") from None

    def describe(self) -> Standing | None:
        """A name is that of a table whatever the case of its letters A to Z, and so has its cursor."""
        kind = self._kinds().get(folded(self._table))
        if kind is None:
            return None
        if kind != "BASE TABLE":
            refuse_view(self.where, self._table)
        shapes = [int(shape[1]) for column in self._there_columns() if (shape := re.fullmatch(r"FLOAT\[(\d+)\]", column.type))]
        return Standing(self.count(), shapes[0] if shapes else None, None, self._cursor())

    def require_fit(self, layout: Layout) -> None:
        require_distinct(self.where, layout.schema.names, folded)
        if folded(self._table) in self._kinds():
            wanted = {name: kind for name, kind, *_ in self._rows(f"DESCRIBE {self._template(layout)}")}
            self._sql.unregister("template")
            require_columns(self.where, self._there_columns(), wanted, self._takes, folded)

    def prepare(self, layout: Layout) -> None:
        if self._layout is None and not self._there:  # so far nothing was created
            self._sql.close()
            self._database = None
            self._path.parent.mkdir(parents=True, exist_ok=True)
        self._layout = layout
        if layout.vector.dimensions * 4 * ROW_GROUP <= GROUP_BYTES:
            self.unit_rows = COMMIT_ROWS
        self._begin()
        self._sql.execute(f"CREATE TABLE IF NOT EXISTS {quoted(self._table)} AS {self._template(layout)}")
        self._sql.unregister("template")
        self._sql.execute(f"CREATE TABLE IF NOT EXISTS {CURSOR_TABLE} (table_name TEXT, cursor TEXT)")

    def upsert(self, rows: pa.RecordBatchReader, *, new: bool) -> None:
        self._begin()
        self._sql.register("incoming", regrouped(rows, ROW_GROUP, 1) if new and self.unit_rows == COMMIT_ROWS else rows)
        into = quoted(self._table) if new else "incoming_rows"
        if not new:
            self._sql.execute(f"CREATE OR REPLACE TEMP TABLE incoming_rows AS FROM {quoted(self._table)} LIMIT 0")
        ((written,),) = self._rows(f"INSERT INTO {into} BY NAME SELECT {self._columns()} FROM incoming")
        self._sql.unregister("incoming")
        self._uncommitted = self._uncommitted + int(written) if new else COMMIT_ROWS
        if not new:
            self._sql.execute(f"DELETE FROM {quoted(self._table)} WHERE {self._id} IN (SELECT {self._id} FROM incoming_rows)")
            self._sql.execute(f"INSERT INTO {quoted(self._table)} FROM incoming_rows")
            self._sql.execute("DROP TABLE incoming_rows")

    def delete(self, ids: pa.Array) -> None:
        self._begin()
        self._uncommitted = COMMIT_ROWS
        self._sql.register("gone", pa.table({self._known.id.name: ids}))
        self._sql.execute(f"DELETE FROM {quoted(self._table)} WHERE {self._id} IN (SELECT {self._typed(self._known.id.name)} FROM gone)")
        self._sql.unregister("gone")

    def commit(self, cursor: str) -> None:
        """Of a first load, held back until there are enough rows, or until `finish`: rows and cursor stay together either way."""
        self._cursor_text = cursor
        if not 0 < self._uncommitted < COMMIT_ROWS:
            self._commit()

    def _commit(self) -> None:
        if self._cursor_text is None:
            return
        self._begin()
        name = next(iter(self._cursors()), self._table)
        self._sql.execute(f"DELETE FROM {CURSOR_TABLE} WHERE table_name = ?", [name])
        self._sql.execute(f"INSERT INTO {CURSOR_TABLE} VALUES (?, ?)", [name, self._cursor_text])
        self._sql.execute("COMMIT")
        self._in_transaction, self._uncommitted, self._cursor_text = False, 0, None

    def finish(self, layout: Layout) -> None:
        self._commit()
        if self._index == "hnsw":
            name = quoted(f"{self._table}_{layout.vector.name}_hnsw")
            self._sql.execute(
                f"CREATE INDEX IF NOT EXISTS {name} ON {quoted(self._table)} USING HNSW ({quoted(layout.vector.name)}) "
                f"WITH (metric = '{VSS_METRICS[layout.metric]}')"
            )
        self._sql.execute("CHECKPOINT")

    def count(self) -> int:
        ((rows,),) = self._rows(f"SELECT count(*) FROM {quoted(self._table)}")
        return int(rows)

    def fetch(self, ids: pa.Array) -> pa.RecordBatch:
        self._sql.register("wanted", pa.table({self._known.id.name: ids}))
        query = f"SELECT {self._id}::{self._id_text} AS id, {quoted(self._known.vector.name)} AS vector FROM {quoted(self._table)} " \
                f"WHERE {self._id} IN (SELECT {self._typed(self._known.id.name)} FROM wanted)"  # fmt: skip
        found: pa.Table = self._sql.sql(query).to_arrow_table()
        self._sql.unregister("wanted")
        schema = pa.schema([("id", self._known.id.type), ("vector", self._known.vector.arrow_type)])
        return pa.RecordBatch.from_arrays([found.column(number).combine_chunks().cast(schema.field(number).type) for number in range(2)], schema=schema)

    def search(self, vectors: np.ndarray, k: int) -> Sequence[Sequence[Any]]:
        kind = f"FLOAT[{self._known.vector.dimensions}]"
        query = f"SELECT {self._id}::{self._id_text} FROM {quoted(self._table)} " \
                f"ORDER BY {DISTANCES[self._known.metric]}({quoted(self._known.vector.name)}, ?::{kind}) LIMIT {k}"  # fmt: skip
        return [[each for (each,) in self._rows(query, [vector.tolist()])] for vector in vectors]

    def may_alias(self, name: str) -> bool:
        return folded(name) not in (folded(self._table), CURSOR_TABLE) and self._kinds().get(folded(name)) != "BASE TABLE"

    def alias(self, name: str) -> None:
        self._sql.execute(f"CREATE OR REPLACE VIEW {quoted(name)} AS FROM {quoted(self._table)}")

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
            self._in_transaction, self._uncommitted, self._cursor_text = False, 0, None
        self._lock.release()

    _in_transaction = False
    _uncommitted = 0  # rows, of a first load alone
    _cursor_text: str | None = None  # that was handed to `commit`, and is not in the file yet

    @property
    def _id(self) -> str:
        return quoted(self._known.id.name)

    @property
    def _id_text(self) -> str:
        return "TEXT" if pa.types.is_string(self._known.id.type) else "HUGEINT" if pa.types.is_uint64(self._known.id.type) else "BIGINT"

    def _begin(self) -> None:
        if not self._in_transaction:
            self._sql.execute("BEGIN")
            self._in_transaction = True

    def _template(self, layout: Layout) -> str:
        """A query for no row, with the columns as the table has them. Registers `template`."""
        self._sql.register("template", pa.table({field.name: pa.array([], field.type) for field in (layout.id, *layout.columns)}))
        first, *kept = (_typed(field.name, layout) for field in (layout.id, *layout.columns))
        vector = f"NULL::FLOAT[{layout.vector.dimensions}] AS {quoted(layout.vector.name)}"
        return f"SELECT {', '.join([first, vector, *kept])} FROM template"

    def _kinds(self) -> dict[str, str]:
        """Of what has a name in the schema that is written to: name, folded -> BASE TABLE, VIEW."""
        found = self._rows(f"SELECT table_name, table_type FROM information_schema.tables WHERE {HERE}")
        return {folded(name): kind for name, kind in found}

    def _there_columns(self) -> list[Column]:
        query = f"SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns WHERE {HERE} ORDER BY ordinal_position"
        rows = [row for table, *row in self._rows(query) if folded(table) == folded(self._table)]
        return [Column(name, kind, nullable == "NO" and default is None) for name, kind, nullable, default in rows]

    def _takes(self, there: str, ours: str) -> bool:
        ((takes,),) = self._rows(f"SELECT can_cast_implicitly(NULL::{ours}, NULL::{there})")
        return bool(takes)

    def _typed(self, name: str) -> str:
        return _typed(name, self._known)

    def _columns(self) -> str:
        return ", ".join(self._typed(name) for name in self._known.schema.names)

    def _cursor(self) -> str | None:
        found = self._cursors()
        if len(found) > 1:
            raise UsageError(
                f"{self.where}: is one table, and an earlier version of embermill kept the cursors of {' and '.join(found)} for it, so it may hold each row "
                f"twice: drop the table, delete these rows of {CURSOR_TABLE}, and load again"
            )
        return next(iter(found.values()), None)

    def _cursors(self) -> dict[str, str]:
        """Of this table, by the name that was given. More than one: DuckDB takes those names for one."""
        if CURSOR_TABLE not in self._kinds():
            return {}
        return {name: cursor for name, cursor in self._rows(f"SELECT table_name, cursor FROM {CURSOR_TABLE}") if folded(name) == folded(self._table)}

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All of them: DuckDB 2 takes no other statement while a result has rows left."""
        return self._sql.execute(query, values).fetchall()

    def _load_vss(self, database: duckdb.DuckDBPyConnection) -> None:
        """From its own wheel, so that nothing is downloaded. UsageError where there is none for this DuckDB."""
        spec = find_spec("duckdb_extension_vss")
        files = [*Path(spec.submodule_search_locations[0]).rglob("vss.duckdb_extension")] if spec and spec.submodule_search_locations else []
        try:
            database.execute(f"LOAD {quoted_value(files[0])}" if files else "LOAD vss")
        except duckdb.Error as error:
            raise UsageError(
                f"target {self.where}: index=hnsw needs the extension vss for DuckDB {duckdb.__version__}, which cannot be loaded here "
                f"({str(error).splitlines()[0]}): pip install 'embermill[duckdb]' installs a DuckDB and a vss that fit each other, "
                "or leave index=hnsw out: a scan needs no extension, and is exact"
            ) from None
        database.execute("SET hnsw_enable_experimental_persistence = true")


def _typed(name: str, layout: Layout) -> str:
    return f"{quoted(name)}::UUID AS {quoted(name)}" if name in layout.uuids else quoted(name)
