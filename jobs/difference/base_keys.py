"""Keys of a version that has none: of what a run made, before its first sync. Made from the live shards, by tasks that publish one file each."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.dataset.metadata.keys import (
    KEYS_FOLDER,
    KeyRange,
    buckets_for,
    key_columns,
    keys_of_dataset,
    keys_schema,
    parse_keys_name,
    publish_keys,
    split_by_bucket,
)
from embermill.jobs.dataset.metadata.versions import BASE, FIRST, KEYS, Version, VersionFile
from embermill.jobs.difference.making import sync_folder
from embermill.jobs.difference.receipts import step_receipt
from embermill.jobs.difference.scan import open_step_writer
from embermill.jobs.partition import Partition
from embermill.jobs.plan.files import Plan
from embermill.jobs.receipt import Receipt
from embermill.jobs.shard.contents import open_parquet, row_groups
from embermill.jobs.shard.file_runs import UNKNOWN, file_numbers
from embermill.jobs.shard.footer import Footer, parse_name
from embermill.jobs.shard.publishing import describe_published
from embermill.jobs.storage import AlreadyExists, Folder

ROWS_AT_ONCE = 2_000_000  # of which a task holds the keys
ROWS_PER_SPLIT = 1_000_000


@dataclass(frozen=True)
class BaseKeys:
    """files: of kind keys. files_known: whether it is known of each row which corpus file it is of."""

    files: tuple[VersionFile, ...]
    files_known: bool


def with_keys(folder: Folder, version: Version) -> Version:
    """The version with the keys that were made for it, where it names none itself."""
    if version.of_kind(KEYS):
        return version
    return replace(version, files=(*version.files, *_standing(folder, version)))


@dataclass(frozen=True)
class KeyTasks:
    """How the keys of a version are made that has none. splits: shards whose keys go into one file, a row group a bucket, at a time. ranges: of buckets, whose
    keys are collected from those. Where one task can hold all keys there are no splits."""

    splits: tuple[tuple[VersionFile, ...], ...]
    ranges: tuple[KeyRange, ...]


def key_tasks(version: Version) -> KeyTasks:
    """They follow from the version alone: who begins again finds what was made of them."""
    rows = version.totals["rows"]
    buckets = buckets_for(rows)
    count = max(1, min(buckets, -(-rows // ROWS_AT_ONCE)))
    ranges = [KeyRange(version.number, buckets * each // count, buckets * (each + 1) // count, buckets) for each in range(count)]
    ends = np.cumsum([file.rows for file in version.of_kind(BASE)])
    groups = groupby(zip(version.of_kind(BASE), ends.tolist(), strict=True), lambda file: (file[1] - 1) // ROWS_PER_SPLIT)
    return KeyTasks(tuple(tuple(file for file, _ in group) for _, group in groups) if count > 1 else (), tuple(ranges))


def numbered(version: Version, tasks: Sequence[object]) -> tuple[Partition, ...]:
    """As the driver has them. They have no segments: what they read follows from their number."""
    identity = hashlib.blake2b(json.dumps([version.number, version.totals["rows"], len(tasks)]).encode(), digest_size=4).hexdigest()
    return tuple(Partition(number, identity, (), 0) for number in range(len(tasks)))


def split_name(version: int, number: int) -> str:
    return f"{sync_folder(version)}/scan/keys-{number:06d}.pq"


def split_keys(folder: Folder, plan: Plan, version: Version, numbers: Mapping[str, int], task: Partition) -> Receipt:
    """Publish the keys of some shards, sorted by bucket. numbers: path -> number of the corpus file. What is there already is ours, or a twin's."""
    tasks = key_tasks(version)
    buckets, name = tasks.ranges[0].buckets, split_name(version.number, task.number)
    keys = _keys_of(folder, plan, tasks.splits[task.number], numbers)
    by_bucket, path = split_by_bucket(keys, buckets), folder.temporary(name)
    try:
        with open_step_writer(path, keys.schema) as writer:
            for bucket in range(buckets):
                found = by_bucket.get(bucket, keys.slice(0, 0))
                writer.write_table(found, row_group_size=max(1, found.num_rows))
        with contextlib.suppress(AlreadyExists):
            folder.publish(path, name)
    finally:
        path.unlink(missing_ok=True)
    return step_receipt(task, name, rows_in=keys.num_rows)


def collect_keys(folder: Folder, plan: Plan, version: Version, numbers: Mapping[str, int], task: Partition) -> Receipt:
    """Publish the keys of a run of buckets."""
    tasks = key_tasks(version)
    place = tasks.ranges[task.number]
    if tasks.splits:
        by_bucket = _collected(folder, plan, version, place, len(tasks.splits))
    else:
        by_bucket = split_by_bucket(_keys_of(folder, plan, version.of_kind(BASE), numbers), place.buckets)
    made = publish_keys(folder, place, by_bucket, plan.rows.key_type, version.next_file + task.number)
    return step_receipt(task, place.name, rows_in=made.rows)


def _collected(folder: Folder, plan: Plan, version: Version, place: KeyRange, splits: int) -> dict[int, pa.Table]:
    found: dict[int, list[pa.Table]] = {bucket: [_nothing(plan)] for bucket in range(place.first, place.end)}
    for number in range(splits):
        with folder.open(split_name(version.number, number)) as file, open_parquet(file) as parquet:
            for bucket, tables in found.items():
                tables.append(parquet.read_row_group(bucket, use_threads=False))
    return {bucket: pa.concat_tables(tables) for bucket, tables in found.items()}


def base_keys(folder: Folder, version: Version) -> BaseKeys:
    """Of a version whose keys were made."""
    files = tuple(_standing(folder, version))
    return BaseKeys(files, all(_knows_files(folder, file) for file in files))


def knows_files(folder: Folder, version: Version) -> bool:
    """Whether its keys tell of every row which corpus file it is of: those that were made from the rows (versions/rekey.py) do not, nor what came of them."""
    return all(_knows_files(folder, file) for file in version.of_kind(KEYS))


def _nothing(plan: Plan) -> pa.Table:
    return keys_schema(plan.rows.key_type).empty_table()


def _standing(folder: Folder, version: Version) -> Iterator[VersionFile]:
    """In order of their names, which is that of their buckets; numbered on from the version's own files."""
    number = version.next_file
    for name, _ in folder.list(f"{KEYS_FOLDER}/{version.number:06d}"):
        if parse_keys_name(name) is not None:
            published = describe_published(folder, name)
            with folder.open(name) as file, open_parquet(file) as parquet:
                rows = parquet.metadata.num_rows
            yield VersionFile(number, KEYS, name, rows, published.size, published.sha256, version.number)
            number += 1


def _keys_of(folder: Folder, plan: Plan, files: Sequence[VersionFile], numbers: Mapping[str, int]) -> pa.Table:
    return pa.concat_tables([_nothing(plan), *(keys for file in files for keys in keys_of_shard(folder, plan, file, numbers, FIRST))])


def keys_of_shard(folder: Folder, plan: Plan, file: VersionFile, numbers: Mapping[str, int], version: int) -> Iterator[pa.Table]:
    """The keys of a shard's rows. numbers: path -> number of the corpus file. plan: whose partitions the shard is of."""
    first = 0
    with folder.open(file.name) as opened, open_parquet(opened) as parquet:
        footer, parsed = Footer.from_metadata(parquet.metadata.metadata), parse_name(f"data/{file.name.rpartition('/')[2]}")
        files = np.full(file.rows, UNKNOWN, np.int32)
        if footer is not None and parsed is not None:
            files = file_numbers(footer.files, plan.partitions[parsed[1]], file.rows, numbers)
        for rows in row_groups(parquet, key_columns(plan.rows)):
            of = files[first : first + rows.num_rows]
            keys = keys_of_dataset(rows, plan.rows, files=of, shard=file.number, first_row=first, version=version)
            first += rows.num_rows
            yield keys


def _knows_files(folder: Folder, file: VersionFile) -> bool:
    with folder.open(file.name) as opened, open_parquet(opened) as parquet:
        return not any(
            pc.any(pc.equal(parquet.read_row_group(group, ["file"]).column(0), UNKNOWN)).as_py() for group in range(parquet.num_row_groups)
        )
