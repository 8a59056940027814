"""Keys of a version that has none: of what a run made, before its first sync. Made from the live shards, some buckets at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.dataset.metadata.id_hash import bucket_of
from embermill.jobs.dataset.metadata.keys import (
    KEYS_FOLDER,
    KeyRange,
    buckets_for,
    keys_of_rows,
    keys_schema,
    parse_keys_name,
    publish_keys,
    split_by_bucket,
)
from embermill.jobs.dataset.metadata.versions import BASE, KEYS, Version, VersionFile
from embermill.jobs.difference.inputs import Inputs
from embermill.jobs.plan.files import Plan
from embermill.jobs.shard.contents import open_parquet, row_groups
from embermill.jobs.shard.file_runs import UNKNOWN, file_numbers
from embermill.jobs.shard.footer import Footer, parse_name
from embermill.jobs.shard.publishing import describe_published
from embermill.jobs.storage import Folder

ROWS_AT_ONCE = 2_000_000  # of which keys are held


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


def ensure_keys(folder: Folder, plan: Plan, version: Version, inputs: Inputs) -> BaseKeys:
    """Keys of the version, made where there are none. Whoever is killed leaves whole files, which are taken as they are."""
    if named := version.of_kind(KEYS):
        return BaseKeys(named, True)
    buckets = buckets_for(version.totals["rows"])
    passes = max(1, min(buckets, -(-version.totals["rows"] // ROWS_AT_ONCE)))
    ranges = [KeyRange(version.number, buckets * each // passes, buckets * (each + 1) // passes, buckets) for each in range(passes)]
    standing = {file.name: file for file in _standing(folder, version)}
    for number, place in enumerate(ranges, version.next_file):
        if place.name not in standing:
            table = pa.concat_tables([_nothing(plan), *_keys_of(folder, plan, version, inputs, place)])
            publish_keys(folder, place, split_by_bucket(table, buckets), plan.rows.id_type, number)
    files = tuple(_standing(folder, version))
    return BaseKeys(files, all(_knows_files(folder, file) for file in files))


def _nothing(plan: Plan) -> pa.Table:
    return keys_schema(plan.rows.id_type).empty_table()


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


def _keys_of(folder: Folder, plan: Plan, version: Version, inputs: Inputs, place: KeyRange) -> Iterator[pa.Table]:
    numbers = {file.path: file.number for file in inputs.files}
    kept = [name for _, name, _ in plan.rows.kept]
    for file in version.of_kind(BASE):
        yield from keys_of_shard(folder, plan, file, numbers, kept, place, 1)


def keys_of_shard(
    folder: Folder, plan: Plan, file: VersionFile, numbers: dict[str, int], kept: list[str], place: KeyRange | None, version: int
) -> Iterator[pa.Table]:
    """The keys of a shard's rows, of some buckets or of all. numbers: path -> number of the corpus file. plan: whose partitions the shard is of."""
    first, names = 0, [plan.rows.id_name, "text_hash", *kept]
    with folder.open(file.name) as opened, open_parquet(opened) as parquet:
        footer, parsed = Footer.from_metadata(parquet.metadata.metadata), parse_name(f"data/{file.name.rpartition('/')[2]}")
        files = np.full(file.rows, UNKNOWN, np.int32)
        if footer is not None and parsed is not None:
            files = file_numbers(footer.files, plan.partitions[parsed[1]], file.rows, numbers)
        for rows in row_groups(parquet, names):
            of = files[first : first + rows.num_rows]
            keys = keys_of_rows(rows, id_name=plan.rows.id_name, kept=kept, files=of, shard=file.number, first_row=first, version=version)
            first += rows.num_rows
            if place is not None and (place.first, place.end) != (0, place.buckets):
                buckets = bucket_of(keys.column("id"), place.buckets)
                keys = keys.filter(pa.array((buckets >= place.first) & (buckets < place.end)))
            yield keys


def _knows_files(folder: Folder, file: VersionFile) -> bool:
    with folder.open(file.name) as opened, open_parquet(opened) as parquet:
        return not any(
            pc.any(pc.equal(parquet.read_row_group(group, ["file"]).column(0), UNKNOWN)).as_py() for group in range(parquet.num_row_groups)
        )
