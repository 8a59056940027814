"""Whether plan, manifest and commits of a dataset speak of the same shards. Each is whole by itself; a copy of another dataset's file among them is not."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs import remedies
from embermill.jobs.bookkeeping.stored_keys import differing_keys
from embermill.jobs.dataset.metadata.commits import COMMITS, CommitLog
from embermill.jobs.dataset.metadata.manifest import Manifest
from embermill.jobs.dataset.metadata.receipt_table import SCHEMA, differences, receipt_at, same_rows, shard_keys
from embermill.jobs.engine import FINGERPRINT_IF_ABSENT
from embermill.jobs.errors import MetadataDamaged
from embermill.jobs.plan.files import Plan
from embermill.jobs.plan.partitions import ids_of
from embermill.jobs.storage import Folder

IDENTITY = ("partition", "ordinal", "partition_id")


def manifest_damage(folder: Folder, plan: Plan, manifest: Manifest) -> Iterator[MetadataDamaged]:
    """Where a manifest is not of this plan: the fingerprint, then the first partition."""
    if differing_keys(manifest.root["fingerprint"], plan.fingerprint, FINGERPRINT_IF_ABSENT):
        yield MetadataDamaged(folder.root, manifest.name, "is of another plan: its fingerprint is not this one's", manifest.remedy)
    for _, _, what in strangers(plan, manifest.columns(IDENTITY)):
        yield MetadataDamaged(folder.root, manifest.name, f"is of another plan: {what}", manifest.remedy)
        return


def commit_damage(log: CommitLog, manifest: Manifest) -> Iterator[MetadataDamaged]:
    """Where commits say other than the manifest, which is the last word: names, rows, checksums, counts, provenance; or say more. See missing for less."""
    if same_rows(log.pieces(), manifest.pieces()):
        return
    named = manifest.shards.select(SCHEMA.names)
    expected = {key: row for row, key in enumerate(shard_keys(named))}
    for receipt in log.receipts():
        row = expected.get((receipt.partition, receipt.ordinal))
        what = f"of which {manifest.name} knows nothing" if row is None else differences(receipt_at(named, row), receipt, history=True)
        if what:
            file = log.file_of(receipt.partition, receipt.ordinal)
            yield MetadataDamaged(log.folder.root, file, f"says of partition {receipt.partition} shard {receipt.ordinal} {what}", remedies.COMMIT)


def plan_damage(log: CommitLog, plan: Plan) -> Iterator[MetadataDamaged]:
    """Commits of another plan, where there is no manifest to hold them against."""
    for partition, ordinal, what in strangers(plan, log.columns(IDENTITY)):
        yield MetadataDamaged(log.folder.root, log.file_of(partition, ordinal), f"is of another plan: {what}", remedies.COMMIT)


def missing(log: CommitLog, manifest: Manifest) -> pa.Table:
    """Receipts of the manifest that no commit has: receipt_table.SCHEMA."""
    lost = [piece.take(pa.array(_unknown(piece, log.committed), pa.int64())) for piece in manifest.pieces()]
    return pa.concat_tables([SCHEMA.empty_table(), *lost])


def _unknown(receipts: pa.Table, committed: AbstractSet[tuple[int, int]]) -> list[int]:
    return [row for row, key in enumerate(shard_keys(receipts)) if key not in committed]


def lost_commits(log: CommitLog, manifest: Manifest) -> Iterator[MetadataDamaged]:
    """That receipts of the manifest are in no commit, in one."""
    if lost := missing(log, manifest).num_rows:
        what = f"lack {lost} of the {manifest.columns(IDENTITY).num_rows} receipts of {manifest.name}"
        yield MetadataDamaged(log.folder.root, COMMITS, what, remedies.COMMITS_LOST)


def strangers(plan: Plan, receipts: pa.Table) -> Iterator[tuple[int, int, str]]:
    """(partition, ordinal, what is wrong) of receipts of partitions that the plan has not, or has with another id."""
    ids = ids_of(plan.partitions)
    numbers = receipts.column("partition").to_numpy()
    planned = ids.take(pa.array(numbers, mask=(numbers < 0) | (numbers >= len(ids))))
    same = pc.fill_null(pc.equal(planned, receipts.column("partition_id").combine_chunks()), False)
    for row in np.flatnonzero(~same.to_numpy(zero_copy_only=False)):
        number, ordinal, identity = (receipts.column(name)[row].as_py() for name in ("partition", "ordinal", "partition_id"))
        yield number, ordinal, f"partition {number} has the id {identity} there, and in the plan {planned[row].as_py() or 'there is none'}"
