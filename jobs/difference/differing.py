"""Step 2: the difference of a run of buckets, published as one file: a row group a bucket, and in its footer what is only counted."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.dataset.metadata.keys import live_keys
from embermill.jobs.dataset.metadata.versions import Version
from embermill.jobs.difference.claim import Claim
from embermill.jobs.difference.difference import Action, Files, difference, difference_schema, scan_schema
from embermill.jobs.difference.inputs import State
from embermill.jobs.difference.making import sync_folder
from embermill.jobs.difference.receipts import step_receipt
from embermill.jobs.difference.scan import ScanTotals, open_step_writer, read_scans
from embermill.jobs.partition import Partition
from embermill.jobs.receipt import Receipt
from embermill.jobs.shard.contents import Damaged, open_parquet
from embermill.jobs.storage import AlreadyExists, Folder

TOLD = b"embermill.difference"  # in a file's footer: JSON of Totals
BUCKETS_PER_TASK = 4


@dataclass(frozen=True)
class Totals:
    """rows: by action. collapsed, shadowed: see Difference."""

    unchanged: int = 0
    collapsed: int = 0
    rows: dict[int, int] = field(default_factory=dict)
    shadowed: tuple[int, ...] = ()

    def of(self, *actions: Action) -> int:
        return sum(self.rows.get(int(action), 0) for action in actions)

    @staticmethod
    def sum(totals: Sequence[Totals]) -> Totals:
        rows: Counter[int] = Counter()
        for each in totals:
            rows.update(each.rows)
        shadowed = sorted({number for each in totals for number in each.shadowed})
        return Totals(sum(each.unchanged for each in totals), sum(each.collapsed for each in totals), dict(rows), tuple(shadowed))


def difference_tasks(claim: Claim) -> tuple[Partition, ...]:
    """One for each run of buckets. They have no segments: what they read follows from their number."""
    count = -(-claim.buckets // BUCKETS_PER_TASK)
    identity = hashlib.blake2b(json.dumps([claim.number, claim.buckets]).encode(), digest_size=4).hexdigest()
    return tuple(Partition(number, identity, (), 0) for number in range(count))


def difference_name(version: int, task: Partition) -> str:
    return f"{sync_folder(version)}/difference/buckets-{task.number:06d}.pq"


def differ(folder: Folder, claim: Claim, parent: Version, scans: Sequence[str], task: Partition, id_type: pa.DataType) -> Receipt:
    """parent: the version that the corpus is held against. scans: names of all scans, in corpus order."""
    name = difference_name(claim.number, task)
    buckets = range(task.number * BUCKETS_PER_TASK, min(claim.buckets, (task.number + 1) * BUCKETS_PER_TASK))
    files, scanned = _scanned(folder, claim, scans, buckets, id_type)
    path, found = folder.temporary(name), list[Totals]()
    try:
        with open_step_writer(path, difference_schema(id_type)) as writer:
            for bucket in buckets:
                got = difference(live_keys(folder, parent, bucket, id_type), scanned.pop(bucket), files)
                writer.write_table(got.rows, row_group_size=max(1, got.rows.num_rows))
                counted = {int(action): got.count(action) for action in Action}
                found.append(Totals(got.unchanged, got.collapsed, counted, tuple(sorted(got.shadowed))))
            told = json.dumps([[each.unchanged, each.collapsed, sorted(each.rows.items()), each.shadowed] for each in found])
            writer.add_key_value_metadata({TOLD.decode(): told})
        with contextlib.suppress(AlreadyExists):
            folder.publish(path, name)
    finally:
        path.unlink(missing_ok=True)
    return step_receipt(task, name, rows_in=sum(sum(each.rows.values()) + each.unchanged for each in found))


def _scanned(folder: Folder, claim: Claim, scans: Sequence[str], buckets: Sequence[int], id_type: pa.DataType) -> tuple[Files, dict[int, pa.Table]]:
    """What the scans say of the files, and of these buckets. Memory: the keys of so many buckets."""
    totals, tables = list[ScanTotals](), {bucket: [scan_schema(id_type).empty_table()] for bucket in buckets}
    for told, found in read_scans(folder, scans, buckets):
        totals.append(told)
        for bucket, table in zip(buckets, found, strict=True):
            tables[bucket].append(table)
    return files_of(claim, totals), {bucket: pa.concat_tables(parts) for bucket, parts in tables.items()}


def files_of(claim: Claim, scans: Sequence[ScanTotals]) -> Files:
    order = np.full(claim.next_file, -1, np.int64)
    scanned, hidden = np.zeros(claim.next_file, bool), np.zeros(claim.next_file, bool)
    for place, file in enumerate(claim.files):
        if file.state != State.GONE:
            order[file.number], scanned[file.number] = place, file.scan
    hidden[[number for each in scans for number in each.hidden]] = True
    return Files(order, scanned, hidden)


def read_difference_totals(folder: Folder, name: str) -> Totals:
    with folder.open(name) as file, open_parquet(file) as parquet:
        try:
            found = json.loads(parquet.metadata.metadata[TOLD])
            return Totals.sum([Totals(unchanged, collapsed, dict(counted), tuple(shadowed)) for unchanged, collapsed, counted, shadowed in found])
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged(f"{name}: its footer does not say what differs: {error}") from error


def read_differences(folder: Folder, names: Sequence[str], columns: Sequence[str], actions: Sequence[Action]) -> Iterator[pa.Table]:
    """Bucket by bucket, the rows of these actions."""
    wanted = pa.array([int(action) for action in actions], pa.int8())
    for name in names:
        with folder.open(name) as file, open_parquet(file) as parquet:
            for bucket in range(parquet.num_row_groups):
                table = parquet.read_row_group(bucket, columns=[*dict.fromkeys(["action", *columns])], use_threads=False)
                yield table.filter(pc.is_in(table.column("action"), wanted))
