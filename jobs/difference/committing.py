"""Step 4: what the version adds, once all its shards stand: deletes, a key delta, and the contents that are committed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.dataset.metadata.deletes import DELETED, REASON, REFUSED, SOURCE_GONE, deletes_schema, write_deletes
from embermill.jobs.dataset.metadata.keys import KeyRange, deleted_keys, keys_schema, publish_keys, split_by_bucket
from embermill.jobs.dataset.metadata.schema import VERSION
from embermill.jobs.dataset.metadata.versions import DELETES, DOCUMENTS, UPSERTS, Version, VersionFile
from embermill.jobs.difference.base_keys import keys_of_shard
from embermill.jobs.difference.claim import Claim
from embermill.jobs.difference.difference import NO_FILE, Action
from embermill.jobs.difference.differing import BUCKETS_PER_TASK, Totals, difference_name, difference_tasks, read_differences
from embermill.jobs.difference.inputs import CorpusFile, State
from embermill.jobs.difference.making import VersionFolder, deletes_of
from embermill.jobs.difference.scan import ScanTotals
from embermill.jobs.plan.files import Plan
from embermill.jobs.shard.contents import open_parquet
from embermill.jobs.shard.quarantine import SCHEMA as QUARANTINE_SCHEMA
from embermill.jobs.storage import Folder


@dataclass(frozen=True)
class Added:
    """What a version adds to its parent. files: numbered on from the parent's. rows: live ones now. rows_new: live rows that had no row before. rows_deleted:
    before, live. documents: live ones, of a dataset of chunks, whose rows are chunks; None of another."""

    files: tuple[VersionFile, ...]
    rows: int
    rows_new: int
    rows_deleted: int
    rows_upserted: int
    documents: int | None = None
    documents_new: int = 0
    documents_deleted: int = 0
    documents_written: int = 0

    @property
    def totals(self) -> dict[str, int]:
        """As a version has them."""
        told = {"rows": self.rows, "rows_upserted": self.rows_upserted, "rows_deleted": self.rows_deleted}
        return told if self.documents is None else told | {DOCUMENTS: self.documents}


RECEIPT_COLUMNS = ("partition", "tokens", "shard", "rows_out", "shard_bytes", "shard_sha256", "quarantine", "values_clipped", "unknown_words")
"""What a commit of a version asks of receipts."""


def upserted_files(making: VersionFolder, receipts: pa.Table, first: int) -> tuple[VersionFile, ...]:
    """receipts: RECEIPT_COLUMNS, in row order. first: number of the first."""
    shards = receipts.filter(pc.is_valid(receipts.column("shard"))).select(["shard", "rows_out", "shard_bytes", "shard_sha256"])
    return tuple(
        VersionFile(number, UPSERTS, making.place(name), rows, size, sha256, making.version)
        for number, (name, rows, size, sha256) in enumerate(zip(*(column.to_pylist() for column in shards.columns), strict=True), first)
    )


def deleted_rows(folder: Folder, claim: Claim, id_type: pa.DataType) -> tuple[pa.Table, int]:
    """(id, version, reason of all that is deleted, sorted by id; live rows that were of these ids). Of a dataset of chunks they are documents."""
    gone = {file.number for file in claim.files if file.state == State.GONE}
    actions = ([Action.MISSING] if claim.options["complete"] else []) + ([Action.STALE] if claim.options["on_refused_update"] == "delete" else [])
    names = [difference_name(claim.number, task) for task in difference_tasks(claim)]
    tables, rows = [pa.schema([("id", id_type), (VERSION, pa.int64()), (REASON, pa.string())]).empty_table()], 0
    for table in read_differences(folder, names, ["id", "file"], actions) if actions else ():
        rows += table.num_rows
        files, action = table.column("file").to_numpy(), table.column("action").to_numpy()
        still = {file.number for file in claim.files} - gone
        reasons = np.where(action == Action.STALE, REFUSED, np.where(np.isin(files, [*still]), DELETED, SOURCE_GONE))
        version = np.full(table.num_rows, claim.number, np.int64)
        tables.append(pa.table([table.column("id"), pa.array(version), pa.array(reasons.tolist(), pa.string())], schema=tables[0].schema))
    return sorted_once(pa.concat_tables(tables)), rows


def sorted_once(table: pa.Table) -> pa.Table:
    """By `id`; of rows with the same one the first."""
    joined = table.sort_by("id").combine_chunks()
    ids = joined.column("id").combine_chunks()
    first = np.ones(len(ids), bool)
    if len(ids) > 1:
        first[1:] = np.asarray(pc.not_equal(ids[1:], ids[:-1]))
    return joined.filter(pa.array(first))


def publish_deletes(folder: Folder, plan: Plan, number: int, deletes: pa.Table, file_number: int) -> tuple[VersionFile, ...]:
    if not deletes.num_rows:
        return ()
    name = f"{deletes_of(number)}/part-000000000.parquet"
    deletes = deletes.rename_columns(deletes_schema(plan).names)
    return (write_deletes(folder, plan, VersionFile(file_number, DELETES, name, 0, 0, "", number), deletes),)


def add_up(
    folder: Folder, claim: Claim, parent: Version, plan: Plan, making: VersionFolder, made: Plan, receipts: pa.Table, totals: Totals
) -> Added:
    """Publish deletes and keys. plan: the dataset's; made: of the version. Memory: the keys of what is written, and of what differs in some buckets."""
    shards = upserted_files(making, receipts, parent.next_file)
    deletes, rows_deleted = deleted_rows(folder, claim, plan.rows.id_type)
    files = [*shards, *publish_deletes(folder, plan, claim.number, deletes, parent.next_file + len(shards))]
    written = keys_written(folder, claim, made, shards)
    keys, rows_new = publish_changed_keys(folder, claim, plan, parent.next_file + len(files), written, deletes.column(0))
    rows = parent.totals["rows"] + rows_new - rows_deleted - totals.collapsed
    return Added((*files, *keys), rows, rows_new, rows_deleted, sum(file.rows for file in shards))


def keys_written(folder: Folder, claim: Claim, made: Plan, shards: Sequence[VersionFile]) -> pa.Table:
    """keys_schema, of all that is written. made: the version's plan."""
    tables = [keys for file in shards for keys in keys_of_shard(folder, made, file, claim.numbers, claim.number)]
    return pa.concat_tables([keys_schema(made.rows.key_type).empty_table(), *tables])


def publish_changed_keys(
    folder: Folder, claim: Claim, plan: Plan, number: int, written: pa.Table, deleted: pa.ChunkedArray
) -> tuple[list[VersionFile], int]:
    """(files of keys, how many of what is written had no key before). number: of the first file. deleted: ids."""
    id_type, files, new = plan.rows.key_type, list[VersionFile](), 0
    by_bucket = split_by_bucket(pa.concat_tables([written, deleted_keys(deleted, claim.number)]), claim.buckets)
    for task in difference_tasks(claim):
        first, end = task.number * BUCKETS_PER_TASK, min(claim.buckets, (task.number + 1) * BUCKETS_PER_TASK)
        keys = {bucket: by_bucket[bucket] for bucket in range(first, end) if bucket in by_bucket}
        new += _count_new(folder, claim, difference_name(claim.number, task), keys)
        moved = split_by_bucket(_moved_keys(folder, claim, difference_name(claim.number, task), id_type), claim.buckets)
        for bucket, table in moved.items():
            keys[bucket] = pa.concat_tables([keys[bucket], table]) if bucket in keys else table
        if keys:
            files.append(publish_keys(folder, KeyRange(claim.number, first, end, claim.buckets), keys, id_type, number))
            number += 1
    return files, new


def _count_new(folder: Folder, claim: Claim, name: str, keys: Mapping[int, pa.Table]) -> int:
    """Rows that were new, and were written: an engine may have refused some."""
    written = [table.filter(pc.greater(table.column("shard"), -1)).column("id") for table in keys.values()]
    if not written:
        return 0
    ids = pa.chunked_array([chunk for column in written for chunk in column.chunks], written[0].type)
    return sum(
        pc.sum(pc.is_in(table.column("id"), ids.combine_chunks())).as_py() or 0 for table in read_differences(folder, [name], ["id"], [Action.EMBED_NEW])
    )


def _moved_keys(folder: Folder, claim: Claim, name: str, id_type: pa.DataType) -> pa.Table:
    """Keys of rows that stay as they are in another file, or in none: those that are missing and not deleted."""
    schema = keys_schema(id_type)
    tables = [schema.empty_table()]
    actions = [Action.MOVED] + ([] if claim.options["complete"] else [Action.MISSING])
    for table in read_differences(folder, [name], ["id", "text_hash", "meta_hash", "file", "shard", "shard_row", "version"], actions):
        missing = table.column("action").to_numpy() == Action.MISSING
        files = table.column("file").to_numpy()
        stays = ~(missing & (files == NO_FILE))  # said before
        columns = [*table.select(["id", "text_hash", "meta_hash"]).columns, pa.array(np.where(missing, NO_FILE, files).astype(np.int32))]
        columns += table.select(["shard", "shard_row", "version"]).columns
        tables.append(pa.table(columns, schema=schema).filter(pa.array(stays)))
    return pa.concat_tables(tables)


def tokens_below(receipts: pa.Table, partition: int) -> int:
    """Of the partitions before that one: those that an engine worked on. receipts: RECEIPT_COLUMNS."""
    return int(pc.sum(_below(receipts, partition).column("tokens"), min_count=0).as_py())


def made_below(making: VersionFolder, receipts: pa.Table, partition: int) -> list[str]:
    """Names of their shards. receipts: RECEIPT_COLUMNS."""
    return [making.place(name) for name in _below(receipts, partition).column("shard").drop_null().to_pylist()]


def _below(receipts: pa.Table, partition: int) -> pa.Table:
    return receipts.filter(pc.less(receipts.column("partition"), partition))


def refused_by_file(folder: VersionFolder, receipts: pa.Table) -> Counter[str]:
    """Path -> rows that were refused while they were embedded. receipts: RECEIPT_COLUMNS."""
    found: Counter[str] = Counter()
    for name in receipts.column("quarantine").drop_null().to_pylist():
        with folder.open(name) as file, open_parquet(file) as parquet:
            assert parquet.schema_arrow.names == QUARANTINE_SCHEMA.names
            for row in parquet.read(["file", "row_count"]).to_pylist():
                found[row["file"]] += row["row_count"]
    return found


def inputs_after(claim: Claim, scans: Sequence[ScanTotals], totals: Totals, refused: Mapping[str, int]) -> Iterator[CorpusFile]:
    """The files as the version has read them. refused: path -> rows that an engine refused."""
    by_number: Counter[int] = Counter()
    for scan in scans:
        by_number.update(scan.refused)
    shadowed = set(totals.shadowed)
    for file in claim.files:
        if file.state != State.GONE:
            quarantined = by_number[file.number] + refused.get(file.path, 0) if file.scan else file.quarantined
            yield replace(file, quarantined=quarantined, shadowed=file.number in shadowed, state=State.SAME, scan=False)
