"""Equal ids among any number of rows, found out of core: keys go to files by their first byte, and each file is sorted in memory."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa

from embermill.jobs.shard.text_hash import digest_each

ROWS_IN_MEMORY = 1 << 21  # 48 MiB of keys
BUCKETS = 256  # a thousand million rows make files of 94 MB
_KEY = np.dtype([("high", "<u8"), ("low", "<u8"), ("shard", "<u4"), ("row", "<u4")])
_ODD = np.uint64(0x9E3779B97F4A7C15)  # multiplying by an odd number permutes the 64-bit integers, so that ids 1, 2, 3 … fall into all buckets


class DuplicateFinder:
    """Collects ids with their places. Several threads may add; keys are 16-byte digests, which nobody can make collide, or the integers themselves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: list[np.ndarray] = []
        self._rows = 0
        self._spill: tempfile.TemporaryDirectory[str] | None = None

    def add(self, ids: pa.ChunkedArray, shard: int, first_row: int) -> None:
        """ids: strings or integers, without nulls; they stand at [first_row, first_row + N) of that shard."""
        for chunk in ids.chunks:
            keys = _keys(chunk, shard, first_row)
            first_row += len(keys)
            with self._lock:
                self._held.append(keys)
                self._rows += len(keys)
                if self._rows >= ROWS_IN_MEMORY:
                    self._write_out()

    def groups(self) -> Iterator[list[tuple[int, int]]]:
        """(shard, row) of the rows that share an id, two or more at a time, each group in order of place; groups in no order."""
        if self._spill is None:
            yield from _groups(self._held)
            return
        self._write_out()
        for path in sorted(Path(self._spill.name).iterdir()):
            yield from _groups([np.fromfile(path, _KEY)])

    def __enter__(self) -> DuplicateFinder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._spill is not None:
            self._spill.cleanup()

    def _write_out(self) -> None:
        if self._spill is None:
            self._spill = tempfile.TemporaryDirectory(prefix="embermill-ids-")
        keys = np.concatenate(self._held) if self._held else np.empty(0, _KEY)
        buckets = (keys["high"] >> np.uint64(56)).astype(np.intp)  # not uint8, in which 255 + 1 is 0
        order = np.argsort(buckets, kind="stable")
        bounds = np.searchsorted(buckets[order], np.arange(BUCKETS + 1))
        for bucket in np.unique(buckets):
            with Path(self._spill.name, f"{bucket:03d}").open("ab") as file:
                keys[order[bounds[bucket] : bounds[bucket + 1]]].tofile(file)
        self._held, self._rows = [], 0


def _keys(ids: pa.Array, shard: int, first_row: int) -> np.ndarray:
    keys = np.zeros(len(ids), _KEY)
    if pa.types.is_integer(ids.type):
        keys["high"] = ids.to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64) * _ODD
    else:
        digests = np.frombuffer(digest_each(ids), "<u8").reshape(-1, 2)
        keys["high"], keys["low"] = digests[:, 0], digests[:, 1]
    keys["shard"] = shard
    keys["row"] = np.arange(first_row, first_row + len(ids))
    return keys


def _groups(held: list[np.ndarray]) -> Iterator[list[tuple[int, int]]]:
    keys = np.concatenate(held) if held else np.empty(0, _KEY)
    keys = keys[np.lexsort((keys["row"], keys["shard"], keys["low"], keys["high"]))]
    same = (keys["high"][1:] == keys["high"][:-1]) & (keys["low"][1:] == keys["low"][:-1])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]]).astype(np.int8)))
    for start, end in edges.reshape(-1, 2):
        group = keys[start : end + 1]
        yield list(zip(group["shard"].tolist(), group["row"].tolist(), strict=True))
