"""Lists of deletes, made again: which ids a version deleted its keys say, and why follows from the corpus files before and after it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.dataset.metadata.deletes import DELETED, REASON, REFUSED, ROLLED_BACK, SOURCE_GONE, deletes_schema, write_deletes
from embermill.jobs.dataset.metadata.keys import GONE, buckets_of, live_keys, read_bucket
from embermill.jobs.dataset.metadata.retirement import is_retired
from embermill.jobs.dataset.metadata.versions import BASE, KEYS, UPSERTS, Version, VersionFile, read_versions
from embermill.jobs.dataset.views.live import LiveRows
from embermill.jobs.difference.base_keys import with_keys
from embermill.jobs.difference.chunk_deletes import chunks_of, deletes_of_chunks, ids_in
from embermill.jobs.difference.claim import inputs_of
from embermill.jobs.errors import DataError
from embermill.jobs.plan.files import Plan
from embermill.jobs.storage import Folder
from embermill.jobs.versions.row_files import blank


def remake_deletes(folder: Folder, plan: Plan, file: VersionFile, staging: Folder) -> VersionFile | None:
    """Write the list into `staging`; as it is there, None where it comes out otherwise than it was. DataError where nothing tells what it held."""
    versions = {version.number: version for version in read_versions(folder)}
    version = versions[file.version]
    parent = versions[version.parent or 0]
    for table in _tables(folder, plan, version, parent):
        made = write_deletes(staging, plan, blank(file.number, file.kind, file.name, file.version), table)
        if made.sha256 == file.sha256:
            return made
        staging.remove(file.name)
    return None


def _tables(folder: Folder, plan: Plan, version: Version, parent: Version) -> Iterator[pa.Table]:
    """What the list may have held: the first that has its bytes is the one."""
    if any(file.version == version.number for file in version.of_kind(BASE)):  # the log beside a base
        if is_retired(folder, parent.number):
            raise DataError(f"version {parent.number}, which it was made from, can no longer be read")
        log = LiveRows(folder, plan, parent).deleted()
        yield pa.Table.from_arrays([log.column(0), log.column(1), pa.array([DELETED] * log.num_rows, pa.string())], schema=deletes_schema(plan))
        return
    if plan.rows.is_chunked:
        yield from _of_chunks(folder, plan, version, parent)
        return
    ids = _deleted(folder, plan, version)
    if version.cause == "rollback":
        yield _table(plan, ids, version, [ROLLED_BACK] * len(ids))
        return
    gone_files = _files_that_went(folder, plan, version, parent, ids)
    for stays in (DELETED, REFUSED):
        yield _table(plan, ids, version, [SOURCE_GONE if went else stays for went in gone_files])


def _table(plan: Plan, ids: pa.Array, version: Version, reasons: list[str]) -> pa.Table:
    return pa.Table.from_arrays([ids, pa.array(np.full(len(ids), version.number, np.int64)), pa.array(reasons, pa.string())], schema=deletes_schema(plan))


def _of_chunks(folder: Folder, plan: Plan, version: Version, parent: Version) -> Iterator[pa.Table]:
    """Chunks that the parent has of the documents that the version wrote or deleted, and the version has not."""
    if version.cause == "rollback":
        raise DataError(f"version {version.number} rolled back: its keys are of documents, and do not tell which chunks were there since")
    keys = _own_keys(folder, version)
    gone = keys.filter(pc.equal(keys.column("shard"), GONE)).column("id").cast(plan.rows.key_type).combine_chunks()
    documents = keys.filter(pc.equal(keys.column("version"), version.number)).column("id").cast(plan.rows.key_type).combine_chunks()
    before = chunks_of(folder, plan, with_keys(folder, parent), documents)
    now = ids_in(folder, plan, [file for file in version.of_kind(UPSERTS) if file.version == version.number])
    went = _files_that_went(folder, plan, version, parent, gone)
    for stays in (DELETED, REFUSED):
        why = pa.table({"id": gone, REASON: pa.array([SOURCE_GONE if each else stays for each in went], pa.string())})
        yield deletes_of_chunks(before, now, why, version.number).rename_columns(deletes_schema(plan).names)


def _deleted(folder: Folder, plan: Plan, version: Version) -> pa.Array:
    """Sorted ids that the version's own keys say are gone. DataError where it has none."""
    keys = _own_keys(folder, version)
    ids = keys.filter(pc.equal(keys.column("shard"), GONE)).column("id").cast(plan.rows.id_type).combine_chunks()
    return ids.take(pc.array_sort_indices(ids))


def _own_keys(folder: Folder, version: Version) -> pa.Table:
    own = [file for file in version.of_kind(KEYS) if file.version == version.number]
    if not own:
        raise DataError(f"version {version.number} has no keys that tell which ids it deleted")
    tables = [table for file in own for bucket in range(buckets_of(version) or 0) if (table := read_bucket(folder, file, bucket)) is not None]
    return pa.concat_tables(tables)


def _files_that_went(folder: Folder, plan: Plan, version: Version, parent: Version, ids: pa.Array) -> list[bool]:
    """Of each id whether the corpus file of its last row was no longer there."""
    still = {file.number for file in inputs_of(folder, plan, version).files}
    before = with_keys(folder, parent)
    tables = [live_keys(folder, before, bucket, plan.rows.key_type).select(["id", "file"]) for bucket in range(buckets_of(before) or 0)]
    if not tables:
        raise DataError(f"version {parent.number} has no keys that tell of which files its rows were")
    keys = pa.concat_tables(tables)
    files = keys.column("file").take(pc.index_in(ids, keys.column("id").combine_chunks())).to_pylist()
    return [number not in still for number in files]
