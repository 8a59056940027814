"""`embermill rollback --to V`: a new version with the live rows of V. What changed since is undone in the feed, so whoever follows it is rolled back, too.

The vectors are copied from V's files. The next `sync` holds the corpus against what it was at V, and brings what is in it now.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.chunking.ids import documents_of
from embermill.jobs.dataset.metadata.claims import claim_number
from embermill.jobs.dataset.metadata.deletes import REASON, ROLLED_BACK, write_deletes
from embermill.jobs.dataset.metadata.keys import (
    GONE,
    UNKNOWN_FILE,
    KeyRange,
    buckets_of,
    deleted_keys,
    keys_of_dataset,
    keys_schema,
    live_keys,
    publish_keys,
    read_bucket,
    split_by_bucket,
)
from embermill.jobs.dataset.metadata.schema import VERSION
from embermill.jobs.dataset.metadata.standing import STANDING
from embermill.jobs.dataset.metadata.versions import (
    BASE,
    DELETES,
    DOCUMENTS,
    KEYS,
    UPSERTS,
    Contents,
    Version,
    VersionFile,
    commit_version,
    live_documents,
    read_version,
    read_versions,
)
from embermill.jobs.dataset.views.feed import read_feed
from embermill.jobs.dataset.views.live import LiveRows, batch_groups
from embermill.jobs.errors import DataError, UsageError
from embermill.jobs.plan.dataset_format import upgrade_format
from embermill.jobs.plan.files import Plan
from embermill.jobs.storage import Folder
from embermill.jobs.versions.row_files import blank, part_name, whole_documents, write_rows

log = logging.getLogger(__name__)

NEXT_FILE = "next_file"
CORPUS_DETAILS = ("inputs", "listed_s", NEXT_FILE, STANDING)  # what a sync has said of the corpus


def rollback(folder: Folder, plan: Plan, to: int) -> Version | None:
    """The new version; None where nothing changed since V. For the holder of the lease. UsageError where there is no V."""
    target = read_version(folder, to)
    newest = read_version(folder)
    if to == newest.number:
        return None
    if newest.cause == "rollback" and newest.details.get("to") == to:
        return newest  # of a run of this command that was killed before it could say so
    id_name = plan.rows.id_name
    upserted, deleted = _changed(folder, plan, target, newest)
    changed = pa.concat_arrays([upserted, deleted])
    if not len(changed):
        return None
    upgrade_format(folder)
    number, parent = claim_number(folder, "rollback", {"to": to})
    if parent.number != newest.number:
        raise UsageError(f"{folder.root}: version {parent.number} was committed meanwhile: run again")
    added, restored = _copy_rows(folder, plan, parent, target, changed, number)
    # Deletes of ids that V lacks are told again: whoever lies between V and now may hold rows of them, and the lists since V are left out below.
    gone = changed.filter(pc.invert(pc.is_in(changed, restored)))
    if len(gone):
        columns = [gone, pa.array(np.full(len(gone), number, np.int64)), pa.array([ROLLED_BACK] * len(gone), pa.string())]
        table = pa.Table.from_arrays(columns, names=[id_name, VERSION, REASON])
        place = blank(parent.next_file + len(added), DELETES, part_name(f"changes/{number:06d}/deletes", 0), number)
        added.append(write_deletes(folder, plan, place, table))
    added += _keys(folder, plan, parent, target, added, gone, number)
    live_gone = pc.sum(pc.invert(pc.is_in(upserted, restored))).as_py() or 0
    totals = {"rows": target.totals["rows"], "rows_upserted": len(restored), "rows_deleted": live_gone}
    totals |= {DOCUMENTS: live_documents(folder, target)} if plan.rows.is_chunked else {}
    files = (*_still_needed(parent, target), *added)
    return commit_version(folder, Contents(number, parent.number, "rollback", totals, files, _details(parent, target)))


def _changed(folder: Folder, plan: Plan, target: Version, newest: Version) -> tuple[pa.Array, pa.Array]:
    """Ids of rows that are new or changed since V, and of rows that are gone since."""
    try:
        feed = read_feed(folder, plan, target.number)
        return _ids(feed.upserts([plan.rows.id_name]), plan), feed.deletes().column("id").combine_chunks()
    except DataError as error:  # a file of these rows is damaged or gone, which may be why
        if buckets_of(newest) is None or plan.rows.is_chunked:  # keys of documents do not tell the ids of their chunks
            raise
        log.warning("what changed since version %d is taken from the keys: %s", target.number, error)
        return _changed_by_keys(folder, plan, target, newest)


def _changed_by_keys(folder: Folder, plan: Plan, target: Version, newest: Version) -> tuple[pa.Array, pa.Array]:
    """The same, without the rows."""
    nothing = pa.chunked_array([], plan.rows.id_type)
    upserted, deleted = list[pa.ChunkedArray]([nothing]), list[pa.ChunkedArray]([nothing])
    later = [file for file in newest.of_kind(KEYS) if file.version > target.number]
    for bucket in range(buckets_of(newest) or 0):
        live = live_keys(folder, newest, bucket, plan.rows.id_type)
        upserted.append(live.filter(pc.greater(live.column(VERSION), target.number)).column("id"))
        for keys in (found for file in later if (found := read_bucket(folder, file, bucket)) is not None):
            gone = keys.filter(pc.equal(keys.column("shard"), GONE)).column("id").unique()
            deleted.append(pa.chunked_array([gone.filter(pc.invert(pc.is_in(gone, live.column("id").combine_chunks())))]))
    joined = [pa.chunked_array([chunk for column in columns for chunk in column.chunks], plan.rows.id_type) for columns in (upserted, deleted)]
    return joined[0].combine_chunks(), joined[1].unique()


def _still_needed(parent: Version, target: Version) -> Iterator[VersionFile]:
    """Without what V did not have: every row that changed since is written or deleted by the rollback itself. A base that was written since stays."""
    is_compacted = {file.name for file in parent.of_kind(BASE)} != {file.name for file in target.of_kind(BASE)}
    return (file for file in parent.files if is_compacted or file.kind in (BASE, KEYS) or file.version <= target.number)


def _details(parent: Version, target: Version) -> dict[str, Any]:
    """What the next sync goes by: the corpus as it was at V, and numbers of corpus files that nobody had."""
    kept = {name: target.details[name] for name in CORPUS_DETAILS if name in target.details}
    if NEXT_FILE in kept and NEXT_FILE in parent.details:
        kept[NEXT_FILE] = max(kept[NEXT_FILE], parent.details[NEXT_FILE])
    return kept | {"to": target.number}


def _ids(batches: Iterator[pa.RecordBatch], plan: Plan) -> pa.Array:
    found = [batch.column(plan.rows.id_name) for batch in batches]
    return pa.concat_arrays(found) if found else pa.array([], plan.rows.id_type)


def _copy_rows(folder: Folder, plan: Plan, parent: Version, target: Version, changed: pa.Array, number: int) -> tuple[list[VersionFile], pa.Array]:
    """Files of upserts with V's rows of these ids, and the ids that V has. Memory: one file's rows of them."""
    files, restored = list[VersionFile](), list[pa.Array]()
    for batches in batch_groups(whole_documents(plan, _rows_of(LiveRows(folder, plan, target), changed, number)), plan.rows_per_shard):
        name = part_name(f"changes/{number:06d}/upserts", len(files))
        files.append(write_rows(folder, plan, blank(parent.next_file + len(files), UPSERTS, name, number), batches))
        restored += (batch.column(plan.rows.id_name) for batch in batches)
    return files, pa.concat_arrays(restored) if restored else pa.array([], plan.rows.id_type)


def _rows_of(live: LiveRows, ids: pa.Array, number: int) -> Iterator[pa.RecordBatch]:
    """Live rows of these ids, as rows of version `number`."""
    for batch in live.batches():
        batch = batch.filter(pc.is_in(batch.column(live.plan.rows.id_name), ids))
        if batch.num_rows:
            place = batch.schema.get_field_index(VERSION)
            yield batch.set_column(place, batch.schema.field(place), pa.array(np.full(batch.num_rows, number, np.int64)))


def _keys(
    folder: Folder, plan: Plan, parent: Version, target: Version, added: list[VersionFile], gone: pa.Array, number: int
) -> Iterator[VersionFile]:
    """What changes in the keys: the copied rows, with the corpus file that V's keys say, and the deleted ids. Nothing where there are no keys."""
    buckets = buckets_of(parent)
    if buckets is None:
        return
    id_type, tables = plan.rows.key_type, [keys_schema(plan.rows.key_type).empty_table()]
    for file in added:
        first_row = 0
        for batch in LiveRows(folder, plan, _only(file)).batches() if file.kind == UPSERTS else ():
            rows = pa.Table.from_batches([batch])
            tables.append(keys_of_dataset(rows, plan.rows, files=UNKNOWN_FILE, shard=file.number, first_row=first_row))
            first_row += batch.num_rows
    tables.append(deleted_keys(_keys_gone(plan, gone, pa.concat_tables(tables)), number))
    by_bucket = split_by_bucket(pa.concat_tables(tables), buckets)
    before = _keys_at(folder, target)
    if buckets_of(before) == buckets and all(folder.exists(file.name) for file in before.of_kind(KEYS)):
        for bucket in range(buckets):
            known = live_keys(folder, before, bucket, id_type)
            changed = by_bucket.get(bucket, keys_schema(id_type).empty_table())
            by_bucket[bucket] = pa.concat_tables([_with_files(changed, known), _moved_back(live_keys(folder, parent, bucket, id_type), known)])
    yield publish_keys(folder, KeyRange(number, 0, buckets, buckets), by_bucket, id_type, parent.next_file + len(added))


def _keys_gone(plan: Plan, gone: pa.Array, written: pa.Table) -> pa.Array:
    """gone: ids of rows. Of a dataset of chunks the documents of which V has none."""
    if not plan.rows.is_chunked:
        return gone
    documents = pc.unique(documents_of(gone).cast(plan.rows.key_type))
    return documents.filter(pc.invert(pc.is_in(documents, written.column("id").combine_chunks())))


def _keys_at(folder: Folder, target: Version) -> Version:
    """V with its keys: those of the run were made later, by the first sync, and are among that version's files."""
    if target.of_kind(KEYS):
        return target
    later = (version for version in read_versions(folder) if version.number > target.number and version.of_kind(KEYS))
    return replace(target, files=tuple(file for file in next(later, target).of_kind(KEYS) if file.version <= target.number))


def _moved_back(now: pa.Table, known: pa.Table) -> pa.Table:
    """Keys of rows that did not change since V and were in another corpus file then."""
    at = pc.index_in(now.column("id"), known.column("id").combine_chunks())
    now, at = now.filter(pc.is_valid(at)), at.filter(pc.is_valid(at)).combine_chunks()
    same = pc.equal(now.column("version"), known.column("version").combine_chunks().take(at))
    moved = pc.not_equal(now.column("file"), known.column("file").combine_chunks().take(at))
    return _with_files(now.filter(pc.and_(same, moved)), known)


def _only(file: VersionFile) -> Version:
    return Version(file.version, None, "committed", "rollback", "", {}, {}, (file,))


def _with_files(keys: pa.Table, known: pa.Table) -> pa.Table:
    at = pc.index_in(keys.column("id"), known.column("id").combine_chunks())
    files = pc.coalesce(known.column("file").combine_chunks().take(at.combine_chunks()), pa.scalar(UNKNOWN_FILE, pa.int32()))
    return keys.set_column(keys.schema.get_field_index("file"), keys.schema.field("file"), pc.cast(files, pa.int32()))
