"""Texts that the engine refused while they were embedded for a version: every row that was to take its vector from there is refused in the same words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from embermill.jobs.difference.copying import digest_of
from embermill.jobs.difference.making import texts_of
from embermill.jobs.partition import Partition
from embermill.jobs.shard.contents import open_parquet
from embermill.jobs.storage import Folder
from embermill.jobs.worker.selected import SelectedRows


def refused_texts(dataset: Folder, version: int, rows: SelectedRows, partitions: Sequence[Partition], *, chunked: bool) -> dict[bytes, str]:
    """Digest of the text -> what was said of it. partitions: of the version's plan; those with refused rows are read again.

    InputChanged where a row of theirs is not there any more.
    """
    found = dict[bytes, str]()
    folder = f"{texts_of(version)}/quarantine" if chunked else f"quarantine/{version:06d}"
    for name, _ in dataset.list(folder):
        number = partition_of(name)
        if number is not None and number < rows.writes.embedded:
            found |= _texts_of(rows, partitions[number], _errors_by_id(dataset, name))
    return found


def partition_of(name: str) -> int | None:
    """Of a shard's name, or a quarantine file's, the partition's number; None of other files there."""
    number = name.rpartition("/")[2].removeprefix("part-").partition("-")[0]
    return int(number) if number.isdigit() else None


def _errors_by_id(dataset: Folder, name: str) -> dict[str, str]:
    with dataset.open(name) as file, open_parquet(file) as parquet:
        return {row["id"]: row["error"] for row in parquet.read(["id", "error"]).to_pylist()}


def _texts_of(rows: SelectedRows, partition: Partition, errors: dict[str, str]) -> dict[bytes, str]:
    found = dict[bytes, str]()
    for batch in rows.read(partition):
        ids = [str(identity) for identity in batch.ids.to_pylist()]
        at = np.array([place for place, identity in enumerate(ids) if identity in errors], np.int64)
        digests = digest_of(batch.texts.take(pa.array(at)))
        found |= {digest.tobytes(): errors[ids[place]] for digest, place in zip(digests, at.tolist(), strict=True)}
    return found
