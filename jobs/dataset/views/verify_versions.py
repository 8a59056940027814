"""`verify` of what later versions added: their files, their rows, and the keys of the newest one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from embermill.counts import several
from embermill.jobs import remedies
from embermill.jobs.dataset.metadata.keys import buckets_of, live_keys
from embermill.jobs.dataset.metadata.retirement import retired_numbers
from embermill.jobs.dataset.metadata.schema import VERSION, row_schema
from embermill.jobs.dataset.metadata.versions import BASE, DELETES, FIRST, KEYS, UPSERTS, Version, VersionFile, read_versions
from embermill.jobs.dataset.views.duplicates import DuplicateFinder
from embermill.jobs.dataset.views.live import LiveRows
from embermill.jobs.dataset.views.live_keys import COMPARED, key_passes, keys_of_live_rows
from embermill.jobs.dataset.views.verify_report import Damage
from embermill.jobs.errors import DataError
from embermill.jobs.plan.files import Plan
from embermill.jobs.shard.contents import WholeDocuments, check_schema, check_values, open_parquet, pieces
from embermill.jobs.shard.publishing import describe_published
from embermill.jobs.storage import Folder

READABLE = "Versions that do not need it can still be read (`embermill files OUTPUT --version V` lists what one needs); `embermill rollback` goes back to one"
DELETES_LOST = (
    "`embermill repair` makes it again from the keys where those of this version and the one before it are as they were. "
    f"Otherwise restore it from a backup. {READABLE}"
)
ROWS_LOST = (
    "`embermill repair` makes it again where the corpus files that its rows came from, or the version that was compacted, are as they were. "
    f"Otherwise restore it from a backup. {READABLE}"
)


def readable(folder: Folder) -> list[Version]:
    """Versions that promise to be readable, oldest first; none of an unfinished dataset."""
    retired = retired_numbers(folder)
    return [version for version in read_versions(folder) if version.is_committed and version.number not in retired]


def files_of_later_versions(versions: list[Version]) -> list[VersionFile]:
    """Each once: all but the run's shards, which their receipts speak of, and keys of older versions."""
    files = {file.name: file for version in versions if version.number > FIRST for file in version.files if file.kind != KEYS or version is versions[-1]}
    return [file for file in files.values() if not (file.kind == BASE and file.version == FIRST)]


def older_keys(versions: list[Version]) -> list[VersionFile]:
    """Keys that older versions have and the newest has not: none is needed, so one may be gone, but what is there should be whole."""
    needed = {file.name for file in versions[-1].files} if versions else set()
    return [*{file.name: file for version in versions for file in version.of_kind(KEYS) if file.name not in needed}.values()]


def older_key_damage(folder: Folder, versions: list[Version]) -> Iterator[Damage]:
    for file in older_keys(versions):
        with contextlib.suppress(FileNotFoundError):
            if (found := describe_published(folder, file.name)).sha256 != file.sha256:
                yield Damage(file.name, f"its sha256 is {found.sha256}, its version says {file.sha256}", remedies.OLDER_KEYS)


def file_damage(folder: Folder, plan: Plan, file: VersionFile) -> Iterator[Damage]:
    """What is wrong with one file."""
    remedy = remedies.REPAIR if file.kind == KEYS else DELETES_LOST if file.kind == DELETES else ROWS_LOST
    try:
        found = describe_published(folder, file.name)
        if (found.size, found.sha256) != (file.bytes, file.sha256):
            yield Damage(file.name, f"its sha256 is {found.sha256}, its version says {file.sha256}", remedy)
        elif file.kind != KEYS:
            yield from (Damage(file.name, what, remedy) for what in _row_damage(folder, plan, file))
    except FileNotFoundError:
        yield Damage(file.name, "is gone", remedy)
    except DataError as error:
        yield Damage(file.name, str(error), remedy)


def _row_damage(folder: Folder, plan: Plan, file: VersionFile) -> Iterator[str]:
    rows, documents = 0, WholeDocuments() if plan.rows.is_chunked and file.kind != DELETES else None
    with folder.open(file.name) as opened, open_parquet(opened) as parquet:
        if file.kind != DELETES:
            check_schema(parquet.schema_arrow, row_schema(plan))
        for table in pieces(parquet):
            if file.kind != DELETES:
                check_values(table, replace(plan, schema=row_schema(plan)), rows)
            if documents is not None:
                documents.add(table)
            rows += table.num_rows
            newest, oldest = (pc.max(table.column(VERSION)).as_py(), pc.min(table.column(VERSION)).as_py()) if table.num_rows else (file.version, file.version)
            if newest > file.version or oldest < (file.version if file.kind == UPSERTS else FIRST):
                yield f"holds rows of version {newest if newest > file.version else oldest}, and is of version {file.version}"
                return
    if documents is not None:
        documents.finished()
    if rows != file.rows:
        yield f"holds {several(rows, 'row')}, its version says {file.rows}"


def key_damage(folder: Folder, plan: Plan, version: Version) -> Iterator[Damage]:
    """Where the keys of a version are not those of its rows. Nothing where it has none."""
    buckets = buckets_of(version)
    if buckets is None:
        return
    live, id_type = LiveRows(folder, plan, version), plan.rows.key_type
    for first, end in key_passes(version.totals["rows"], buckets):
        expected = keys_of_live_rows(live, first, end, buckets)
        for bucket in range(first, end):
            stored = live_keys(folder, version, bucket, id_type).select(COMPARED).sort_by("id")
            made = expected.get(bucket, stored.schema.empty_table()).select(COMPARED).sort_by("id")
            if not stored.combine_chunks().equals(made.cast(stored.schema).combine_chunks()):
                name = version.of_kind(KEYS)[-1].name
                what = f"the keys of bucket {bucket} ({several(stored.num_rows, 'row')}) are not those of the {several(made.num_rows, 'live row')} there"
                yield Damage(name, what, remedies.REPAIR)
                return


def find_live_duplicates(folder: Folder, plan: Plan, version: Version, finder: DuplicateFinder) -> list[str]:
    """Give the finder the ids of every live row; the names of the files that its shard numbers mean."""
    names, live = list[str](), LiveRows(folder, plan, version)
    for file in live.files():
        row = 0
        for batch in live.read(file, [plan.rows.id_name]):
            finder.add(pa.chunked_array([batch.column(0)]), len(names), row)
            row += batch.num_rows
        names.append(file.file.name)
    return names
