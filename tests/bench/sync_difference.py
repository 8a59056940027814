"""How long the difference of so many keys takes, bucket by bucket, and what memory a worker needs for it.

    python -m tests.bench.sync_difference [--rows 10000000] [--processes 1]

1 % each edited, inserted, deleted, and with other kept columns. Prints the seconds spent in `difference` alone, summed over the processes, and the peak
resident memory of one process.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pyarrow as pa

from embermill.jobs.dataset.metadata.keys import buckets_for, keys_schema
from embermill.jobs.difference.difference import Action, Files, difference, scan_schema

FILES = 100


def make(bucket: int, rows: int) -> tuple[pa.Table, pa.Table]:
    """The keys of a bucket, and what was scanned of it."""
    generator = np.random.default_rng(bucket)
    numbers = np.arange(rows, dtype=np.int64) + bucket * 10 * rows
    texts, meta = generator.bytes(16 * rows), generator.bytes(8 * rows)
    files = np.sort(generator.integers(0, FILES, rows)).astype(np.int32)
    order = generator.permutation(rows)  # keys are sorted by id, a corpus is not
    plain = np.arange(rows, dtype=np.int32)
    places = map(pa.array, (files, plain, plain, np.ones(rows, np.int64)))
    previous = pa.table([_ids(numbers), _fixed(texts, 16), _fixed(meta, 8), *places], schema=keys_schema(pa.string()))
    new = np.frombuffer(texts, np.uint8).reshape(rows, 16).copy()
    new[: rows // 100] ^= 1
    other = np.frombuffer(meta, np.uint8).reshape(rows, 8).copy()
    other[rows // 100 : rows // 50] ^= 1
    fresh = numbers.copy()
    fresh[rows // 50 : rows // 50 + rows // 100] += 5 * rows  # so many gone, so many new
    columns = [_ids(fresh[order]), _fixed(new[order].tobytes(), 16), _fixed(other[order].tobytes(), 8), *map(pa.array, (files[order], files[order], plain))]
    return previous, pa.table(columns, schema=scan_schema(pa.string()))


def _ids(numbers: np.ndarray) -> pa.Array:
    return pa.array(np.char.add("document-", np.char.zfill(numbers.astype(str), 12)).tolist(), pa.string())


def _fixed(data: bytes, width: int) -> pa.Array:
    return pa.Array.from_buffers(pa.binary(width), len(data) // width, [None, pa.py_buffer(data)])


def work(task: tuple[int, int]) -> tuple[float, int, int]:
    """(seconds, rows that differ, peak resident memory in MB after the first bucket's tables were made)"""
    bucket, rows = task
    pa.set_cpu_count(1)
    previous, scanned = make(bucket, rows)
    begin = time.process_time()
    found = difference(previous, scanned, Files(np.arange(FILES), np.ones(FILES, bool), np.zeros(FILES, bool)))
    seconds = time.process_time() - begin
    expected = {Action.EMBED_NEW: rows // 100, Action.EMBED_CHANGED: rows // 100, Action.COPY: rows // 50 - rows // 100, Action.MISSING: rows // 100}
    assert {action: found.count(action) for action in expected} == expected
    return seconds, found.rows.num_rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def measure(rows: int, processes: int) -> dict[str, float]:
    buckets = buckets_for(rows)
    tasks = [(bucket, rows // buckets) for bucket in range(buckets)]
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:  # a forked one would begin with our memory
        done = [*pool.map(work, tasks)]
    seconds, differ, peaks = zip(*done, strict=True)
    return {"rows": rows, "buckets": buckets, "core_seconds": round(sum(seconds), 2), "differ": sum(differ), "peak_mb": max(peaks)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.rows, arguments.processes)))


if __name__ == "__main__":
    main()
