"""The live rows of a version, by the one reading rule: a row is live unless a later version has an upsert or a delete of its id.

A base is read in its order and then the upserts in theirs. Memory: the ids of all changes since the base, LOOKUP_ROWS ids of the base and a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embermill.counts import several
from embermill.jobs.dataset.metadata.schema import VERSION, row_schema
from embermill.jobs.dataset.metadata.versions import BASE, DELETES, UPSERTS, Version, VersionFile
from embermill.jobs.errors import DataError, UsageError
from embermill.jobs.plan.files import Plan
from embermill.jobs.shard.contents import Damaged, open_parquet
from embermill.jobs.storage import Folder

Rows = TypeVar("Rows", pa.Table, pa.RecordBatch)

BATCH_ROWS = 16_384
LOOKUP_ROWS = 1 << 22  # ids that are looked up at once: the table of changed ids is hashed again for each lookup


@dataclass(frozen=True)
class LiveFile:
    """One file of rows. live: [rows] bool, which of them are; None: all. The numbers of a file's rows are their places in it."""

    file: VersionFile
    live: np.ndarray | None

    @property
    def rows(self) -> int:
        return self.file.rows if self.live is None else int(np.count_nonzero(self.live))


class LiveRows:
    """What is live in one version of a dataset."""

    def __init__(self, folder: Folder, plan: Plan, version: Version) -> None:
        self.folder, self.plan, self.version = folder, plan, version
        self._id = plan.rows.id_name

    def files(self, since: int = 0) -> Iterator[LiveFile]:
        """Every file of rows in row order that may hold some which changed after version `since`, with what is live in it.

        DataError where one is gone or damaged.
        """
        changes = self._changes
        for group in file_groups((file for file in self.version.of_kind(BASE) if file.version > since), LOOKUP_ROWS):
            if not len(changes):
                yield from (LiveFile(file, None) for file in group)
                continue
            tables = [self._keys(file) for file in group]
            stale = changes.are_stale(pa.concat_tables(tables))
            ends = np.cumsum([table.num_rows for table in tables])
            yield from (_live_file(file, ~mask) for file, mask in zip(group, np.split(stale, ends[:-1]), strict=True))
        upserts = zip(self.version.of_kind(UPSERTS), changes.live_upserts, strict=True)
        yield from (_live_file(file, mask) for file, mask in upserts if file.version > since)

    def file(self, file: VersionFile) -> LiveFile:
        """What is live in one file of the base; its ids are read for it where anything changed since."""
        changes = self._changes
        return _live_file(file, ~changes.are_stale(self._keys(file))) if len(changes) else LiveFile(file, None)

    def batches(self, columns: Sequence[str] | None = None, since: int = 0) -> Iterator[pa.RecordBatch]:
        """Live rows that changed after version `since`, in batches of row_schema or of some of its columns."""
        for file in self.files(since):
            yield from self.read(file, columns, since)

    def read(self, live: LiveFile, columns: Sequence[str] | None = None, since: int = 0, batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        schema = self._schema(columns)
        needed = [*schema.names, *([VERSION] if since and VERSION not in schema.names else [])]
        for first_row, batch in read_batches(self.folder, live.file.name, self._stored(needed), batch_rows):
            batch = with_version(batch)
            mask = None if live.live is None else live.live[first_row : first_row + batch.num_rows]
            if since:
                newer = pc.greater(batch.column(VERSION), since).to_numpy(zero_copy_only=False)
                mask = newer if mask is None else mask & newer
            if mask is not None and not mask.all():
                batch = batch.filter(pa.array(mask))
            if batch.num_rows:
                batch = batch.select(schema.names)
                yield batch if batch.schema.equals(schema, check_metadata=True) else self._cast(batch, schema, live.file)

    def deleted(self, since: int = 0) -> pa.Table:
        """id and version of the ids whose newest change after `since` is a delete, in the order of the versions."""
        return self._changes.deleted(since)

    @cached_property
    def _changes(self) -> _Changes:
        upserts, deletes = ([self._keys(file) for file in self.version.of_kind(kind)] for kind in (UPSERTS, DELETES))
        return _Changes(self._key_schema, upserts, deletes)

    @cached_property
    def _key_schema(self) -> pa.Schema:
        return pa.schema([pa.field("id", self.plan.rows.id_type), pa.field(VERSION, pa.int64())])

    def _keys(self, file: VersionFile) -> pa.Table:
        """id and version of every row of a file of rows or deletes."""
        names = [self._id, VERSION]
        batches = [with_version(batch) for _, batch in read_batches(self.folder, file.name, names, 1 << 20)]
        table = pa.Table.from_batches([batch.select(names) for batch in batches]) if batches else self._key_schema.empty_table()
        if table.num_rows != file.rows:
            found = f"it holds {several(table.num_rows, 'row')}, its version says {file.rows}"
            raise DataError(f"{self.folder.root}/{file.name}: {found}; `embermill verify` says more")
        return self._cast(table.rename_columns(self._key_schema.names), self._key_schema, file)

    def _cast(self, rows: Rows, schema: pa.Schema, file: VersionFile) -> Rows:
        try:
            return rows.cast(schema)
        except pa.ArrowException as error:
            raise DataError(f"{self.folder.root}/{file.name}: its columns are of other types: {error}; `embermill verify` says more") from None

    def _schema(self, columns: Sequence[str] | None) -> pa.Schema:
        whole = row_schema(self.plan)
        if columns is None:
            return whole
        if missing := [name for name in columns if name not in whole.names]:
            raise UsageError(f"{self.folder.root}: there is no column {missing[0]!r}; the columns there are: {', '.join(whole.names)}")
        return pa.schema([whole.field(name) for name in columns])

    def _stored(self, columns: Sequence[str]) -> list[str]:
        """What to read for them: at least one column that every file has."""
        return [*columns] if any(name != VERSION for name in columns) else [*columns, self._id]


def with_version(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of shards that lack the column are of version 1."""
    if VERSION in batch.schema.names:
        return batch
    return batch.append_column(pa.field(VERSION, pa.int64(), nullable=False), pa.array(np.ones(batch.num_rows, np.int64)))


class _Changes:
    """What later versions say of ids: of each the newest version that upserts or deletes it."""

    def __init__(self, schema: pa.Schema, upserts: list[pa.Table], deletes: list[pa.Table]) -> None:
        self._sizes = [table.num_rows for table in upserts]
        self._all = pa.concat_tables([schema.empty_table(), *upserts, *deletes])
        newest = self._all.group_by("id", use_threads=False).aggregate([(VERSION, "max")])
        self._ids = newest.column("id").combine_chunks()
        self._newest = newest.column(f"{VERSION}_max").to_numpy()

    def __len__(self) -> int:
        return len(self._ids)

    def are_stale(self, keys: pa.Table) -> np.ndarray:
        """[N] bool: which of these rows (id, version) a later version changed."""
        stale: np.ndarray = pc.is_in(keys.column("id"), self._ids).to_numpy()
        rows = np.flatnonzero(stale)
        if len(rows):
            known = keys.take(pa.array(rows))
            stale[rows] = self._newest_of(known.column("id")) > known.column(VERSION).to_numpy()
        return stale

    @cached_property
    def live_upserts(self) -> list[np.ndarray]:
        """Of each file of upserts, which rows are live."""
        if not self._sizes:
            return []
        keys = self._all.slice(0, sum(self._sizes))
        live = self._newest_of(keys.column("id")) == keys.column(VERSION).to_numpy()
        return list(np.split(live, np.cumsum(self._sizes)[:-1]))

    def deleted(self, since: int) -> pa.Table:
        keys = self._all.slice(sum(self._sizes))
        versions = keys.column(VERSION).to_numpy()
        last = (self._newest_of(keys.column("id")) == versions) & (versions > since)
        return keys.filter(pa.array(last)).sort_by(VERSION)

    def _newest_of(self, ids: pa.ChunkedArray) -> np.ndarray:
        """[N], of ids that are all known."""
        found: np.ndarray = self._newest[pc.index_in(ids, self._ids).to_numpy()] if len(ids) else np.empty(0, np.int64)
        return found


def read_batches(folder: Folder, name: str, columns: Sequence[str], rows: int = BATCH_ROWS) -> Iterator[tuple[int, pa.RecordBatch]]:
    """(first row, batch) of a file, with these columns; VERSION only where it has one. DataError where it is gone or damaged."""
    first_row = 0
    with open_rows(folder, name) as parquet:
        found = [column for column in columns if column in parquet.schema_arrow.names]
        if missing := [column for column in columns if column not in found and column != VERSION]:
            raise Damaged(f"it has no column {missing[0]!r}")
        for batch in parquet.iter_batches(rows, columns=found, use_threads=False):
            yield first_row, batch
            first_row += batch.num_rows


@contextmanager
def open_rows(folder: Folder, name: str) -> Iterator[pq.ParquetFile]:
    """DataError, naming the file, where it is gone or damaged."""
    try:
        with folder.open(name) as file, open_parquet(file) as parquet:
            yield parquet
    except FileNotFoundError:
        raise DataError(f"{folder.root}/{name}: is gone, removed by `embermill gc` or otherwise; `embermill verify` says what else is damaged") from None
    except (Damaged, pa.ArrowException) as error:
        raise DataError(f"{folder.root}/{name}: {error}; `embermill verify` says what else is damaged") from None


def _live_file(file: VersionFile, live: np.ndarray) -> LiveFile:
    return LiveFile(file, None if live.all() else live)


class _HasRows(Protocol):
    @property
    def rows(self) -> int: ...


_Counted = TypeVar("_Counted", bound=_HasRows)


def file_groups(files: Iterable[_Counted], rows: int) -> Iterator[list[_Counted]]:
    """Files in their order, with at most so many rows together where one has not more by itself."""
    group: list[_Counted] = []
    for file in files:
        if group and sum(each.rows for each in group) + file.rows > rows:
            yield group
            group = []
        group.append(file)
    if group:
        yield group


def batch_groups(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[list[pa.RecordBatch]]:
    """Batches in their order, with at least so many rows together but for the last."""
    group: list[pa.RecordBatch] = []
    for batch in batches:
        group.append(batch)
        if sum(each.num_rows for each in group) >= rows:
            yield group
            group = []
    if group:
        yield group
