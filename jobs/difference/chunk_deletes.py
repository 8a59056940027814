"""What a version of a dataset of chunks adds: chunks that are gone are deleted by their ids, since no row says any more that they were there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.corpus.chunk_columns import COUNT
from embermill.jobs.dataset.metadata.deletes import DELETED, REASON
from embermill.jobs.dataset.metadata.keys import buckets_of, live_keys
from embermill.jobs.dataset.metadata.schema import VERSION
from embermill.jobs.dataset.metadata.versions import BASE, UPSERTS, Version, VersionFile, live_documents
from embermill.jobs.difference.claim import Claim
from embermill.jobs.difference.committing import Added, deleted_rows, keys_written, publish_changed_keys, publish_deletes, sorted_once, upserted_files
from embermill.jobs.difference.differing import Totals
from embermill.jobs.difference.making import VersionFolder
from embermill.jobs.plan.files import Plan
from embermill.jobs.shard.contents import open_parquet, row_groups
from embermill.jobs.storage import Folder


def add_up_chunks(
    folder: Folder, claim: Claim, parent: Version, plan: Plan, making: VersionFolder, made: Plan, receipts: pa.Table, totals: Totals
) -> Added:
    """As add_up. Memory: also the ids of all chunks of documents that differ."""
    shards = upserted_files(making, receipts, parent.next_file)
    written, (gone, documents_deleted) = keys_written(folder, claim, made, shards), deleted_rows(folder, claim, plan.rows.key_type)
    before = chunks_of(folder, plan, parent, pa.concat_arrays([written.column("id").combine_chunks(), gone.column("id").combine_chunks()]))
    now = ids_in(folder, plan, shards)
    deletes = deletes_of_chunks(before, now, gone, claim.number)
    files = [*shards, *publish_deletes(folder, plan, claim.number, deletes, parent.next_file + len(shards))]
    keys, documents_new = publish_changed_keys(folder, claim, plan, parent.next_file + len(files), written, gone.column("id"))
    rows_new = len(now) - (pc.sum(pc.is_in(now, before.column("id").combine_chunks())).as_py() or 0)
    return Added(
        (*files, *keys),
        rows=parent.totals["rows"] - before.num_rows + len(now),
        rows_new=rows_new,
        rows_deleted=deletes.num_rows,
        rows_upserted=len(now),
        documents=live_documents(folder, parent) + documents_new - documents_deleted - totals.collapsed,
        documents_new=documents_new,
        documents_deleted=documents_deleted,
        documents_written=written.num_rows,
    )


def chunks_of(folder: Folder, plan: Plan, version: Version, documents: pa.Array) -> pa.Table:
    """document and id of every live chunk of these documents. version: with its keys. Of each file that holds some two columns are read."""
    schema = pa.schema([("document", plan.rows.key_type), ("id", plan.rows.id_type)])
    files, places = {file.number: file for file in version.of_kind(BASE, UPSERTS)}, dict[int, list[np.ndarray]]()
    for bucket in range(buckets_of(version) or 0):
        keys = live_keys(folder, version, bucket, plan.rows.key_type)
        keys = keys.filter(pc.is_in(keys.column("id"), documents))
        shards = keys.column("shard").to_numpy()
        for number in np.unique(shards).tolist():
            places.setdefault(number, []).append(keys.column("row").to_numpy()[shards == number])
    found = [schema.empty_table()]
    for number, rows in sorted(places.items()):
        found.append(_chunks_at(folder, plan, files[number], np.sort(np.concatenate(rows))).cast(schema))
    return pa.concat_tables(found).combine_chunks()


def _chunks_at(folder: Folder, plan: Plan, file: VersionFile, first: np.ndarray) -> pa.Table:
    """first: rows of the file at which documents begin."""
    with folder.open(file.name) as opened, open_parquet(opened) as parquet:
        table = pa.concat_tables([*row_groups(parquet, [plan.rows.document_column, plan.rows.id_name, COUNT])])
    counts = table.column(2).to_numpy()[first]
    rows = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    return table.select([0, 1]).take(pa.array(rows)).rename_columns(["document", "id"])


def ids_in(folder: Folder, plan: Plan, shards: Sequence[VersionFile]) -> pa.Array:
    """Ids of all rows of these files."""
    found = [pa.array([], plan.rows.id_type)]
    for shard in shards:
        with folder.open(shard.name) as opened, open_parquet(opened) as parquet:
            found += (table.column(0).combine_chunks() for table in row_groups(parquet, [plan.rows.id_name]))
    return pa.concat_arrays([each if isinstance(each, pa.Array) else pa.concat_arrays(each.chunks) for each in found])


def deletes_of_chunks(before: pa.Table, now: pa.Array, gone: pa.Table, version: int) -> pa.Table:
    """(id, version, reason), sorted by id. before: of documents that were written or are gone; now: ids that were written. gone: documents and why."""
    vanished = before.filter(pc.invert(pc.is_in(before.column("id"), now)))
    why = gone.column(REASON).take(pc.index_in(vanished.column("document"), gone.column("id").combine_chunks()))
    reasons = pc.fill_null(why, DELETED)
    return sorted_once(pa.table({"id": vanished.column("id"), VERSION: pa.array(np.full(vanished.num_rows, version, np.int64)), REASON: reasons}))
