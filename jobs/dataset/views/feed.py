"""What changed after a version: the rows and deletes that bring a copy of that version to a later one, whatever was compacted or collected meanwhile.

The feed is net: of each id its last change. Applying it twice, or to a copy that has some of it already, gives the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from embermill.jobs.dataset.metadata.schema import VERSION, row_schema
from embermill.jobs.dataset.metadata.versions import BASE, DELETES, UPSERTS, Version, VersionFile, read_version, read_versions
from embermill.jobs.dataset.views.live import LiveRows
from embermill.jobs.errors import UsageError
from embermill.jobs.plan.files import Plan
from embermill.jobs.storage import Folder

CHANGE, UPSERT, DELETE = "change", "upsert", "delete"  # a column of the feed, and its values


class ErasedSince(UsageError):
    """Rows were erased after the version that a reader has: what changed since cannot be told without them, and no record of them is kept.

    since: that version. erased: the newest one that an erasure made.
    """

    def __init__(self, root: str, since: int, erased: int) -> None:
        super().__init__(root, since, erased)
        self.root, self.since, self.erased = root, since, erased

    def __str__(self) -> str:
        return (
            f"{self.root}: what changed since version {self.since} cannot be told, because rows were erased in version {self.erased} and the dataset keeps no "
            "record of which. Delete what you have of earlier versions, which still holds these rows, and read the dataset from the beginning (since 0)"
        )


@dataclass(frozen=True)
class FeedFile:
    """A file of the feed. needs_filter: it also holds rows (or deletes) of versions up to the cursor: only those with a greater `version` are of the feed."""

    file: VersionFile
    needs_filter: bool


@dataclass(frozen=True)
class Feed:
    """From `since`, which the cursor says was read, to `to`. Nothing where both are the same."""

    since: int
    to: Version
    live: LiveRows

    def files(self) -> tuple[FeedFile, ...]:
        """What to read for it, version by version; only some rows of them are live (`upserts` gives those)."""
        later = [file for file in self.to.of_kind(BASE, UPSERTS, DELETES) if file.version > self.since]
        return tuple(FeedFile(file, _may_be_older(file, self.to, self.since)) for file in sorted(later, key=lambda file: (file.version, file.number)))

    def upserts(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Rows of row_schema that are new or changed, and live."""
        return self.live.batches(columns, self.since)

    def deletes(self) -> pa.Table:
        """id and version of what is gone; from version 0, which has no row, nothing is. Of another version it may name ids that came and went since."""
        deleted = self.live.deleted(self.since)
        return deleted if self.since else deleted.slice(0, 0)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Both, with a column `change`; of a delete everything but id and version is null. feed_schema."""
        schema = feed_schema(self.live.plan)
        for batch in self.upserts():
            yield pa.RecordBatch.from_arrays([*batch.columns, _constant(UPSERT, batch.num_rows)], schema=schema)
        for batch in self.deletes().to_batches():
            known = {self.live.plan.rows.id_name: batch.column("id"), VERSION: batch.column(VERSION), CHANGE: _constant(DELETE, batch.num_rows)}
            yield pa.RecordBatch.from_arrays([known.get(field.name, pa.nulls(batch.num_rows, field.type)) for field in schema], schema=schema)


def read_feed(folder: Folder, plan: Plan, since: int, to: int | None = None) -> Feed:
    """UsageError for versions that are none, or where the dataset was erased from after the cursor: what was erased can no longer be told."""
    versions, last = read_versions(folder, files=False), read_version(folder, to)
    if since < 0 or since > last.number:
        raise UsageError(f"{folder.root}: since {since}: expected a version from 0 (for all rows) to {last.number}")
    erased = [version.number for version in versions if version.cause == "erase" and version.is_committed and since < version.number <= last.number]
    if erased and since:
        raise ErasedSince(folder.root, since, erased[-1])
    return Feed(since, last, LiveRows(folder, plan, last))


def feed_schema(plan: Plan) -> pa.Schema:
    """row_schema and `change`, as a reader must expect it: a deleted row has its id and version alone."""
    known = (plan.rows.id_name, VERSION)
    fields = [field if field.name in known else field.with_nullable(True) for field in row_schema(plan)]
    return pa.schema([*fields, pa.field(CHANGE, pa.string(), nullable=False)])


def _constant(value: str, rows: int) -> pa.Array:
    return pa.array([value] * rows, pa.string())


def _may_be_older(file: VersionFile, to: Version, since: int) -> bool:
    """A base, and what lies beside it, carries over what earlier versions changed."""
    base = max((each.version for each in to.of_kind(BASE)), default=0)
    return since > 0 and file.version == base
