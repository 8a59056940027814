"""`embermill compact`: all live rows in a new base beside the old one. Rows keep their versions and the log of deletes stays, so cursors stay good.

A killed one goes on where it was: a part is a group of files of the version that is compacted, and a part that stands is not written again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.chunking.ids import documents_of
from embermill.jobs.corpus.chunk_columns import INDEX
from embermill.jobs.dataset.metadata.claims import claim_number
from embermill.jobs.dataset.metadata.deletes import DELETED, REASON, write_deletes
from embermill.jobs.dataset.metadata.id_hash import bucket_of
from embermill.jobs.dataset.metadata.keys import KeyRange, buckets_for, buckets_of, keys_schema, live_keys, publish_keys
from embermill.jobs.dataset.metadata.versions import BASE, DELETES, Contents, Version, VersionFile, changed_files, commit_version, read_version
from embermill.jobs.dataset.views.live import LiveFile, LiveRows, file_groups, read_batches
from embermill.jobs.dataset.views.live_keys import key_passes
from embermill.jobs.plan.dataset_format import upgrade_format
from embermill.jobs.plan.files import Plan
from embermill.jobs.storage import Folder
from embermill.jobs.versions.row_files import blank, part_name, standing_file, write_rows

Keep = Callable[[pa.Array], np.ndarray]
"""ids [N] -> [N] bool: which of them the new base keeps. Of a dataset of chunks they are documents."""


def compact(folder: Folder, plan: Plan) -> Version | None:
    """The new version; None where there is nothing to compact. For the holder of the lease."""
    if not changed_files(read_version(folder)):
        return None
    upgrade_format(folder)
    number, parent = claim_number(folder, "compact", {})
    return commit_version(folder, Contents(number, parent.number, "compact", parent.totals, make_base(folder, plan, parent, number), parent.details))


def make_base(folder: Folder, plan: Plan, parent: Version, number: int, keep: Keep | None = None) -> tuple[VersionFile, ...]:
    """Base, log of deletes and keys of version `number`, with the live rows of its parent that are to be kept. keep: None for all."""
    live = LiveRows(folder, plan, parent)
    made: list[VersionFile] = []
    for place, group in enumerate(file_groups((file for file in live.files() if file.rows), plan.rows_per_shard)):
        file = blank(parent.next_file + len(made), BASE, part_name(f"bases/{number:06d}", place), number)
        made += [standing_file(folder, file) or write_rows(folder, plan, file, _kept(live, group, keep))]
    made = [file for file in made if file.rows]
    deleted = live.deleted()
    if keep is not None:
        deleted = deleted.filter(pa.array(keep(_keys_of_ids(plan, deleted.column("id").combine_chunks()))))
    if deleted.num_rows:
        table = deleted.append_column(REASON, pa.array([DELETED] * deleted.num_rows, pa.string())).rename_columns([plan.rows.id_name, "version", REASON])
        made.append(write_deletes(folder, plan, blank(_next(parent, made), DELETES, part_name(f"bases/{number:06d}/deletes", 0), number), table))
    return (*made, *_keys(folder, plan, parent, made, number))


def _next(parent: Version, made: Sequence[VersionFile]) -> int:
    return max([parent.next_file - 1, *(file.number for file in made)]) + 1


def _kept(live: LiveRows, group: list[LiveFile], keep: Keep | None) -> Iterator[pa.RecordBatch]:
    for file in group:
        for batch in live.read(file):
            yield batch if keep is None else batch.filter(pa.array(keep(batch.column(live.plan.rows.key_name))))


def _keys_of_ids(plan: Plan, ids: pa.Array) -> pa.Array:
    return documents_of(ids).cast(plan.rows.key_type) if plan.rows.is_chunked else ids


def _keys(folder: Folder, plan: Plan, parent: Version, made: Sequence[VersionFile], number: int) -> Iterator[VersionFile]:
    """The parent's keys with their new places; none where it has none. Several passes over the ids where they are many."""
    before = buckets_of(parent)
    if before is None:
        return
    rows = sum(file.rows for file in made if file.kind == BASE)
    buckets = buckets_for(rows)
    next_file, id_type = _next(parent, made), plan.rows.key_type
    for first, end in key_passes(rows, buckets):
        places = _places(folder, plan, made, first, end, buckets)
        found: dict[int, list[pa.Table]] = {}
        for old in range(first * before // buckets, max(first * before // buckets + 1, end * before // buckets)):
            keys = live_keys(folder, parent, old, id_type)
            for bucket, table in _moved(keys, places, buckets):
                found.setdefault(bucket, []).append(table)
        by_bucket = {bucket: pa.concat_tables(tables) for bucket, tables in found.items()}
        yield publish_keys(folder, KeyRange(number, first, end, buckets), by_bucket, id_type, next_file)
        next_file += 1


def _places(folder: Folder, plan: Plan, made: Sequence[VersionFile], first: int, end: int, buckets: int) -> pa.Table:
    """id, shard, row of the new base's rows in some buckets; of a dataset of chunks, of the first of each document."""
    columns_read = [plan.rows.key_name, *([INDEX] if plan.rows.is_chunked else [])]
    tables = [pa.table({"id": pa.array([], plan.rows.key_type), "shard": pa.array([], pa.int32()), "row": pa.array([], pa.int32())})]
    for file in made:
        for first_row, batch in read_batches(folder, file.name, columns_read, 1 << 20) if file.kind == BASE else ():
            numbers = bucket_of(batch.column(0), buckets)
            wanted = (numbers >= first) & (numbers < end)
            if plan.rows.is_chunked:
                wanted &= batch.column(1).to_numpy() == 0
            rows = np.flatnonzero(wanted)
            shards = np.full(len(rows), file.number, np.int32)
            columns = [batch.column(0).take(pa.array(rows)), pa.array(shards), pa.array((rows + first_row).astype(np.int32))]
            tables.append(pa.Table.from_arrays(columns, names=["id", "shard", "row"]))
    return pa.concat_tables(tables).combine_chunks()


def _moved(keys: pa.Table, places: pa.Table, buckets: int) -> Iterator[tuple[int, pa.Table]]:
    """(bucket, keys with their new places) of those that have one."""
    at = pc.index_in(keys.column("id"), places.column("id").combine_chunks() if places.num_rows else pa.array([], keys.column("id").type))
    rows = pc.is_valid(at)
    keys, at = keys.filter(rows), at.filter(rows)
    moved = pa.Table.from_arrays(
        [places.column(name).take(at).cast(pa.int32()) if name in ("shard", "row") else keys.column(name) for name in keys.schema.names],
        schema=keys_schema(keys.column("id").type),
    )
    numbers = bucket_of(moved.column("id"), buckets)
    for bucket in np.unique(numbers).tolist():
        yield bucket, moved.filter(pa.array(numbers == bucket))
