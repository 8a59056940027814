"""`postgresql://host/db?table=docs`: a table of PostgreSQL with pgvector. Rows and cursor in one transaction, so each row is written exactly once.

Options: table (docs), metric, index: hnsw, built after the first load, or none (a scan, exact); every other option is libpq's (sslmode, …). Passwords come
from the address, PGPASSWORD or ~/.pgpass. float16 becomes halfvec, a column of bits bit(n).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import numpy as np
import pgvector
import psycopg
import pyarrow as pa
from pgvector.psycopg import register_vector
from psycopg import sql
from psycopg.types.json import Jsonb
from psycopg.types.string import BytesBinaryDumper

from embermill.jobs.errors import AnotherRun, DataError, UsageError
from embermill.jobs.index import COSINE, DOT, FLOAT16, FLOAT32, L2, UBINARY, Address, Layout, Standing, Target
from embermill.jobs.index.checking import vectors_of
from embermill.jobs.index.fit import Column, refuse_view, require_columns, require_name
from embermill.jobs.index.metadata_json import json_rows
from embermill.jobs.index.sql import CURSOR_TABLE

OURS = ("table", "metric", "index")
KINDS = {FLOAT32: "vector", FLOAT16: "halfvec", UBINARY: "bit"}
OPERATORS = {COSINE: ("<=>", "cosine"), DOT: ("<#>", "ip"), L2: ("<->", "l2")}
TEXTS = ("character varying", "character")  # whose binary form is that of text
HNSW_SEARCHED = 100  # hnsw.ef_search of our own probe; pgvector's default is 40


class PostgreSQLTarget(Target):
    limits = "postgresql"
    dtypes = (FLOAT32, FLOAT16, UBINARY)
    options = OURS
    takes_any_option = True
    transactional = True
    max_workers = None
    has_alias = True

    def __init__(self, address: Address) -> None:
        self.where = address.shown
        self._schema, _, self._name = address.options.get("table", "docs").rpartition(".")
        if not require_name(address.shown, self._name):
            raise UsageError(f"target {address.shown}: table={self._schema}. names a schema alone: name the table behind the point, too")
        self._index = address.options.get("index", "hnsw")
        if self._index not in ("none", "hnsw"):
            raise UsageError(f"target {address.shown}: index={self._index}: expected none or hnsw")
        parts = urlsplit(address.text)
        query = urlencode([(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in OURS])
        self._sql = psycopg.connect(urlunsplit(("postgresql", parts.netloc, parts.path, query, "")))
        self._table = self._named(self._name)
        self._cursors = self._named(CURSOR_TABLE)
        self._has_key: bool | None = None

    def lock(self) -> None:
        """An advisory lock of this session, which PostgreSQL releases with it. `docs` and `public.docs` may be one table: its schema is named either way."""
        of_table = "SELECT nspname FROM pg_class JOIN pg_namespace AS schemas ON relnamespace = schemas.oid WHERE pg_class.oid = to_regclass(%s)"
        names = [self._table.as_string(), self._schema or None]
        (schema,) = self._sql.execute(f"SELECT coalesce(({of_table}), %s, current_schema())", names).fetchone() or ("",)
        row = self._sql.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [f"embermill load {schema}.{self._name}"]).fetchone()
        self._sql.commit()
        if not row or not row[0]:
            raise AnotherRun(f"table {self._name}: another `embermill load` is at work on it")

    def describe(self) -> Standing | None:
        if self._is_missing(self._table):
            return None
        kind = self._sql.execute("SELECT relkind FROM pg_class WHERE oid = %s::regclass", [self._table.as_string()]).fetchone()
        if kind and kind[0] in ("v", "m", b"v", b"m"):
            refuse_view(self.where, self._name)
        query = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
        kinds = [kind for (kind,) in self._sql.execute(query, [self._table.as_string()])]
        sizes = [int(kind.partition("(")[2].rstrip(")")) for kind in kinds if kind.partition("(")[0] in KINDS.values() and "(" in kind]
        cursor = None
        if not self._is_missing(self._cursors):
            found = self._sql.execute(sql.SQL("SELECT cursor FROM {} WHERE table_name = %s").format(self._cursors), [self._name]).fetchone()
            cursor = None if found is None else str(found[0])
        some = self._sql.execute(sql.SQL("SELECT count(*) FROM (SELECT 1 FROM {} LIMIT %s) AS found").format(self._table), [1 if cursor else None]).fetchone()
        self._sql.commit()
        return Standing(int(some[0]) if some else 0, sizes[0] if sizes else None, None, cursor)

    def require_fit(self, layout: Layout) -> None:
        if self._is_missing(self._table):
            return
        query = (
            "SELECT attname, atttypid::regtype::text, attnotnull AND NOT atthasdef AND attidentity = '' FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        )
        there = [Column(name, kind.rpartition(".")[2], must) for name, kind, must in self._sql.execute(query, [self._table.as_string()])]
        kinds = {field.name: "uuid" if field.name in layout.uuids else column_type(field.type) for field in (layout.id, *layout.columns)}
        wanted = {name: self._spelled(kinds[name]) if name in kinds else KINDS[layout.vector.dtype] for name in layout.schema.names}
        self._sql.commit()
        require_columns(self.where, there, wanted, lambda column, kind: column == kind or (kind == "text" and column in TEXTS))

    def _spelled(self, kind: str) -> str:
        """As PostgreSQL names the type: `timestamp with time zone`."""
        found = self._sql.execute("SELECT %s::regtype::text", [kind]).fetchone()
        return str(found[0]) if found else kind

    def prepare(self, layout: Layout) -> None:
        if self._layout is None:
            self._layout = layout
            self._sql.execute("CREATE EXTENSION IF NOT EXISTS vector")
            columns = [self._column(layout.id, "NOT NULL"), sql.SQL("{} {} NOT NULL").format(sql.Identifier(layout.vector.name), self._vector_type)]
            columns += [self._column(field) for field in layout.columns]
            self._sql.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(self._table, sql.SQL(", ").join(columns)))
            self._sql.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {} (table_name text PRIMARY KEY, cursor text NOT NULL)").format(self._cursors))
            self._sql.commit()  # the next of several workers would wait for this transaction
            register_vector(self._sql)
            self._sql.adapters.register_dumper(bytes, BytesBinaryDumper)  # in place of one in Python, for `copied_vectors`
            self._sql.commit()

    def upsert(self, rows: pa.RecordBatchReader, *, new: bool) -> None:
        if new:
            self._copy(self._table, rows)
            return
        self._require_key()
        staging, names = sql.Identifier("embermill_incoming"), [sql.Identifier(name) for name in self._known.schema.names]
        self._sql.execute(sql.SQL("CREATE TEMP TABLE IF NOT EXISTS {} (LIKE {}) ON COMMIT DELETE ROWS").format(staging, self._table))
        self._sql.execute(sql.SQL("TRUNCATE {}").format(staging))
        self._copy(staging, rows)
        replaced = sql.SQL(", ").join(sql.SQL("{0} = EXCLUDED.{0}").format(name) for name in names[1:])
        merge = sql.SQL("INSERT INTO {} ({names}) SELECT {names} FROM {} ON CONFLICT ({}) DO UPDATE SET {}")
        self._sql.execute(merge.format(self._table, staging, names[0], replaced, names=sql.SQL(", ").join(names)))

    def delete(self, ids: pa.Array) -> None:
        self._require_key()
        self._sql.execute(sql.SQL("DELETE FROM {} WHERE {} = ANY({})").format(self._table, self._id, self._ids), [ids.to_pylist()])

    def commit(self, cursor: str) -> None:
        write = sql.SQL("INSERT INTO {} VALUES (%s, %s) ON CONFLICT (table_name) DO UPDATE SET cursor = EXCLUDED.cursor")
        self._sql.execute(write.format(self._cursors), [self._name, cursor])
        self._sql.commit()

    def finish(self, layout: Layout) -> None:
        self._require_key()
        if self._index == "hnsw":
            family = "hamming" if layout.vector.dtype == UBINARY else OPERATORS[layout.metric][1]
            build = sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} USING hnsw ({} {})")
            self._sql.execute(build.format(
                sql.Identifier(f"{self._name}_{layout.vector.name}_hnsw"), self._table, sql.Identifier(layout.vector.name),
                sql.Identifier(f"{KINDS[layout.vector.dtype]}_{family}_ops"),
            ))  # fmt: skip
        self._sql.commit()

    def count(self) -> int:
        found = self._sql.execute(sql.SQL("SELECT count(*) FROM {}").format(self._table)).fetchone()
        self._sql.commit()
        return int(found[0]) if found else 0

    def fetch(self, ids: pa.Array) -> pa.RecordBatch:
        query = sql.SQL("SELECT {}, {} FROM {} WHERE {} = ANY({})").format(
            self._id, sql.Identifier(self._known.vector.name), self._table, self._id, self._ids
        )
        found = self._sql.execute(query, [ids.to_pylist()]).fetchall()
        self._sql.commit()
        form = self._known.vector
        vectors = [self._to_numpy(vector) for _, vector in found]
        flat = np.concatenate(vectors) if vectors else np.empty(0, form.arrow_type.value_type.to_pandas_dtype())
        values = pa.FixedSizeListArray.from_arrays(pa.array(flat, form.arrow_type.value_type), type=form.arrow_type)
        return pa.RecordBatch.from_arrays([pa.array([self._as_id(each) for each, _ in found], ids.type), values], names=["id", "vector"])

    def search(self, vectors: np.ndarray, k: int) -> Sequence[Sequence[Any]]:
        operator = "<~>" if self._known.vector.dtype == UBINARY else OPERATORS[self._known.metric][0]
        self._sql.execute(f"SET hnsw.ef_search = {HNSW_SEARCHED}")
        query = sql.SQL("SELECT {} FROM {} ORDER BY {} {} %s LIMIT %s").format(
            self._id, self._table, sql.Identifier(self._known.vector.name), sql.SQL(operator)
        )
        found = [[self._as_id(each) for (each,) in self._sql.execute(query, [self._to_vector(vector), k])] for vector in vectors]
        self._sql.commit()
        return found

    def may_alias(self, name: str) -> bool:
        view = self._named(name)
        kind = None if self._is_missing(view) else self._sql.execute("SELECT relkind FROM pg_class WHERE oid = %s::regclass", [view.as_string()]).fetchone()
        self._sql.commit()
        return name not in (self._name, CURSOR_TABLE) and (kind is None or kind[0] in ("v", b"v"))

    def alias(self, name: str) -> None:
        """A view, replaced in one transaction, since the columns may be others."""
        view = self._named(name)
        self._sql.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(view))
        self._sql.execute(sql.SQL("CREATE VIEW {} AS SELECT * FROM {}").format(view, self._table))
        self._sql.commit()

    def close(self) -> None:
        self._sql.close()

    @property
    def _id(self) -> sql.Identifier:
        return sql.Identifier(self._known.id.name)

    @property
    def _ids(self) -> sql.Composed:
        return sql.SQL("%s::{}[]").format(sql.SQL(self._type(self._known.id)))

    @property
    def _vector_type(self) -> sql.Composed:
        return sql.SQL("{}({})").format(sql.SQL(KINDS[self._known.vector.dtype]), sql.Literal(self._known.vector.dimensions))

    def _named(self, name: str) -> sql.Identifier:
        return sql.Identifier(self._schema, name) if self._schema else sql.Identifier(name)

    def _is_missing(self, table: sql.Identifier) -> bool:
        found = self._sql.execute("SELECT to_regclass(%s)", [table.as_string()]).fetchone()
        return not found or found[0] is None

    def _column(self, field: pa.Field, more: str = "") -> sql.Composed:
        return sql.SQL("{} {} {}").format(sql.Identifier(field.name), sql.SQL(self._type(field)), sql.SQL(more))

    def _type(self, field: pa.Field) -> str:
        return "uuid" if field.name in self._known.uuids else column_type(field.type)

    def _require_key(self) -> None:
        """Built after the first load, which is faster than keeping it while rows come in."""
        if not self._has_key and not self._finds_key():
            self._sql.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(self._table))  # of several workers one builds it, the others wait here
            if not self._finds_key():
                self._build_key()
        self._has_key = True

    def _finds_key(self) -> bool:
        query = "SELECT 1 FROM pg_index WHERE indrelid = %s::regclass AND indisprimary"
        return self._sql.execute(query, [self._table.as_string()]).fetchone() is not None

    def _build_key(self) -> None:
        try:
            self._sql.execute(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(self._table, self._id))
        except psycopg.errors.UniqueViolation as error:
            which = error.diag.message_detail
            raise DataError(f"table {self._name}: several rows have one id: {which}: make ids unique in the corpus, then `embermill sync`") from None

    def _copy(self, table: sql.Identifier, rows: pa.RecordBatchReader) -> None:
        names = self._known.schema.names
        kinds = [self._type(self._known.id), KINDS[self._known.vector.dtype], *(self._type(field) for field in self._known.columns)]
        with self._sql.cursor() as cursor:
            statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(table, sql.SQL(", ").join(map(sql.Identifier, names)))
            with cursor.copy(statement) as copy:
                copy.set_types([kinds[0], "bytea", *(kind.partition("(")[0] for kind in kinds[2:])])
                for batch in rows:
                    for row in zip(*self._values(batch, kinds), strict=True):
                        copy.write_row(row)

    def _values(self, batch: pa.RecordBatch, kinds: Sequence[str]) -> Iterator[Sequence[Any]]:
        """Of each column, what psycopg writes."""
        yield batch.column(0).to_pylist()
        yield copied_vectors(vectors_of(batch.column(1)), self._known.vector.dtype)
        columns = [*zip(batch.schema.names, kinds, strict=True)][2:]
        documents = [*json_rows(batch.select([name for name, kind in columns if kind == "jsonb"]))] if "jsonb" in kinds else []
        for name, kind in columns:
            yield [Jsonb(row[name]) if name in row else None for row in documents] if kind == "jsonb" else batch.column(name).to_pylist()

    def _to_vector(self, vector: np.ndarray) -> Any:
        if self._known.vector.dtype == UBINARY:
            return pgvector.Bit(np.unpackbits(vector).astype(bool)[: self._known.vector.dimensions])
        return pgvector.HalfVector(vector) if self._known.vector.dtype == FLOAT16 else vector

    def _to_numpy(self, value: Any) -> np.ndarray:
        if self._known.vector.dtype == UBINARY:
            text = value if isinstance(value, str) else value.to_text()
            return np.packbits(np.frombuffer(text.encode(), np.uint8) == ord("1"))
        found = value if isinstance(value, np.ndarray) else value.to_numpy()
        return np.asarray(found, np.float16 if self._known.vector.dtype == FLOAT16 else np.float32)

    def _as_id(self, value: Any) -> Any:
        return int(value) if pa.types.is_integer(self._known.id.type) else str(value)


def copied_vectors(vectors: np.ndarray, dtype: str) -> list[bytes]:
    """[N] of COPY's binary form of a vector, halfvec or bit: the number of dimensions, then the numbers, big-endian, or the bits.

    Made for all rows at once, and handed to psycopg as bytea, which it copies: pgvector's own classes take 7 us a row of 384 numbers, this less than one.
    """
    if dtype == UBINARY:
        head, body = (8 * vectors.shape[1]).to_bytes(4, "big"), vectors
    else:
        head, body = vectors.shape[1].to_bytes(2, "big") + bytes(2), vectors.astype(vectors.dtype.newbyteorder(">")).view(np.uint8)
    rows = np.empty((len(body), 4 + body.shape[1]), np.uint8)
    rows[:, :4], rows[:, 4:] = np.frombuffer(head, np.uint8), body
    return [row.tobytes() for row in rows]


def column_type(kind: pa.DataType) -> str:
    """What a column of it is in PostgreSQL; jsonb for what has no type of its own there."""
    simple = [
        (pa.types.is_boolean, "boolean"), (pa.types.is_string, "text"), (pa.types.is_binary, "bytea"), (pa.types.is_date, "date"),
        (pa.types.is_float32, "real"), (pa.types.is_floating, "double precision"), (pa.types.is_uint64, "numeric"), (pa.types.is_decimal, "numeric"),
        (pa.types.is_int8, "smallint"), (pa.types.is_int16, "smallint"), (pa.types.is_uint8, "smallint"), (pa.types.is_int32, "integer"),
        (pa.types.is_uint16, "integer"), (pa.types.is_integer, "bigint"), (pa.types.is_time, "time"),
    ]  # fmt: skip
    for holds, name in simple:
        if holds(kind):
            return name
    if pa.types.is_timestamp(kind):
        return "timestamptz" if kind.tz else "timestamp"
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and pa.types.is_string(kind.value_type):
        return "text[]"
    return "jsonb"
