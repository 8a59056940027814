"""Which rows of a shard are of which corpus file, as run lengths: what a later `sync` goes by when a file changes or goes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

from embermill.counts import several
from embermill.jobs.corpus.rows import RowBatch
from embermill.jobs.partition import Partition

UNKNOWN = -1


class FileRuns:
    """Collects them while the shard is written."""

    def __init__(self, partition: Partition) -> None:
        self._places = {path: place for place, path in enumerate(distinct_paths(partition))}
        self._runs: list[list[int]] = []

    def add(self, batch: RowBatch) -> None:
        """The rows that are stored of the batch. Rows of an unknown origin are said to be so."""
        left = len(batch.rows)
        for origin in batch.origins:
            rows = int(np.count_nonzero((batch.rows >= origin.ordinal) & (batch.rows < origin.ordinal + origin.num_rows)))
            self._append(self._places.get(origin.file, UNKNOWN), rows)
            left -= rows
        self._append(UNKNOWN, left)

    def to_json(self) -> str:
        return json.dumps(self._runs, separators=(",", ":"))

    def _append(self, place: int, rows: int) -> None:
        if rows and self._runs and self._runs[-1][0] == place:
            self._runs[-1][1] += rows
        elif rows:
            self._runs.append([place, rows])


def distinct_paths(partition: Partition) -> list[str]:
    """Each file of the partition once, in its order."""
    return list(dict.fromkeys(segment.path for segment in partition.segments))


def file_numbers(runs: str, partition: Partition, rows: int, numbers: Mapping[str, int]) -> np.ndarray:
    """[rows] int32: the number of each row's corpus file. runs: of a shard's footer. numbers: path -> number.

    Where the footer says nothing it is known only of a partition of one file; else UNKNOWN.
    """
    paths = distinct_paths(partition)
    if not runs:
        return np.full(rows, numbers.get(paths[0], UNKNOWN) if len(paths) == 1 else UNKNOWN, np.int32)
    parsed: Sequence[Sequence[int]] = json.loads(runs)
    by_place = [UNKNOWN if place == UNKNOWN else numbers.get(paths[place], UNKNOWN) for place, _ in parsed]
    found = np.repeat(np.array(by_place, np.int32), [count for _, count in parsed])
    if len(found) != rows:
        raise ValueError(f"its footer tells the files of {several(len(found), 'row')}, and it holds {rows}")
    return found
