"""Texts that have a vector already: in the parent of a version, in versions that were abandoned, in other datasets of the same fingerprint.

Pure lookups by the digests of texts; memory follows the texts that are looked for, not those that are known.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from embermill.jobs.dataset.metadata.keys import all_live_keys, digest_text_hashes
from embermill.jobs.dataset.metadata.versions import Version
from embermill.jobs.difference.making import upserts_of
from embermill.jobs.errors import DataError
from embermill.jobs.shard.contents import Damaged, open_parquet, row_groups
from embermill.jobs.storage import Folder

Source = tuple[str, str]
"""(address of a dataset, "" for this one; name of a shard in it)"""


def as_digests(column: pa.ChunkedArray) -> np.ndarray:
    """binary(16) [N], without nulls -> [N, 2] uint64."""
    joined = b"".join(bytes(chunk.buffers()[1][16 * chunk.offset : 16 * (chunk.offset + len(chunk))]) for chunk in column.chunks if len(chunk))
    return np.frombuffer(joined, "<u8").reshape(-1, 2)


@dataclass(frozen=True)
class Wanted:
    """Distinct digests, sorted by their first half, and where a vector of each was found."""

    digests: np.ndarray  # [N, 2]
    source: np.ndarray  # [N] int32, -1 while nothing is found
    row: np.ndarray  # [N] int32

    @staticmethod
    def of(digests: np.ndarray) -> Wanted:
        """digests: [M, 2]."""
        distinct = np.unique(np.ascontiguousarray(digests).view([("high", "<u8"), ("low", "<u8")]).reshape(-1))
        values = distinct.view("<u8").reshape(-1, 2)
        return Wanted(values, np.full(len(values), -1, np.int32), np.zeros(len(values), np.int32))

    @property
    def all_found(self) -> bool:
        return bool((self.source >= 0).all())

    def places(self, digests: np.ndarray) -> np.ndarray:
        """[M] int64: where each stands among these, -1 where it does not."""
        if not len(self.digests) or not len(digests):
            return np.full(len(digests), -1, np.int64)
        at = np.searchsorted(self.digests[:, 0], digests[:, 0])
        found = np.full(len(digests), -1, np.int64)
        open_rows = np.arange(len(digests))
        while len(open_rows):  # once, but for digests that share their first half
            open_rows = open_rows[at[open_rows] < len(self.digests)]
            same = self.digests[at[open_rows], 0] == digests[open_rows, 0]
            open_rows = open_rows[same]
            hit = self.digests[at[open_rows], 1] == digests[open_rows, 1]
            found[open_rows[hit]] = at[open_rows[hit]]
            open_rows = open_rows[~hit]
            at[open_rows] += 1
        return found

    def note(self, digests: np.ndarray, source: np.ndarray, row: np.ndarray) -> None:
        """What one more place holds. The first place in which a text is found counts."""
        places = self.places(digests)
        known = np.flatnonzero(places >= 0)
        known = known[self.source[places[known]] < 0][::-1]
        self.source[places[known]], self.row[places[known]] = source[known], row[known]


def look_in_keys(wanted: Wanted, folder: Folder, version: Version, id_type: pa.DataType, numbers: dict[int, int]) -> None:
    """numbers: VersionFile.number -> number of the source."""
    most = max(numbers, default=-1) + 1
    source_of = np.full(most + 1, -1, np.int32)
    for number, source in numbers.items():
        source_of[number] = source
    for _, keys in all_live_keys(folder, version, id_type):
        if wanted.all_found:
            return
        shards = keys.column("shard").to_numpy()
        order = np.lexsort((keys.column("row").to_numpy(), shards))
        wanted.note(as_digests(keys.column("text_hash"))[order], source_of[shards[order]], keys.column("row").to_numpy()[order])


def look_in_shard(wanted: Wanted, folder: Folder, name: str, source: int, *, whole: bool) -> None:
    """whole: for a shard that no version names: every page is read and its checksum verified first. A damaged one, or one that is gone, holds nothing."""
    found: list[tuple[np.ndarray, int]] = []
    with contextlib.suppress(Damaged, DataError, FileNotFoundError, pa.ArrowException), folder.open(name) as file, open_parquet(file) as parquet:
        row = 0
        for table in row_groups(parquet, None if whole else ["text_hash"]):
            found.append((as_digests(pa.chunked_array([digest_text_hashes(table.column("text_hash"))])), row))
            row += table.num_rows
        for digests, first in found:
            wanted.note(digests, np.full(len(digests), source, np.int32), np.arange(first, first + len(digests), dtype=np.int32))


def abandoned_shards(folder: Folder, versions: Sequence[Version]) -> Iterator[str]:
    """What versions that were abandoned left of their shards."""
    for version in versions:
        if not version.is_committed:
            yield from (name for name, _ in folder.list(upserts_of(version.number)) if name.endswith(".parquet"))
