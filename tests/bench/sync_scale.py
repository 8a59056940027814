"""A sync of many rows of which 1 % changed, with an engine of 8 dimensions: seconds and memory of each stage, of driver and workers apart.

    python -m tests.bench.sync_scale [--rows 10000000] [--files 100] [--processes 16] [--cores 2] [--folder DIR]

As many workers as cores, in processes of their own, and the driver share these cores, without Ray. Corpus, dataset and keys are made first, by `processes`.
The last line counts: _scan and _differ (s, driver_mb) and worker_mb.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embermill.jobs.config import JobConfig
from embermill.jobs.engine import Embedded, Output
from embermill.jobs.run import run
from embermill.jobs.sync import stages
from embermill.jobs.sync.job import SyncOptions, sync
from embermill.jobs.sync.stages import Stages
from tests.bench.process_pool import ProcessPool, open_process_pool, peak_mb
from tests.bench.without_ray import without_ray

DIM = 8


class NarrowEngine:
    """Vectors of ones."""

    def __init__(self, model: Any, *, device: str, threads: int) -> None: ...

    def fingerprint(self) -> dict[str, str]:
        return {"model.engine": "narrow"}

    def outputs(self) -> tuple[Output, ...]:
        return (Output("embedding", "dense", "float32", DIM),)

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        for batch in texts:
            counts = np.ones(len(batch), np.int32)
            yield Embedded({"embedding": np.ones((len(batch), DIM), np.float32)}, counts, counts * 0)


def write(folder: Path, rows: int, files: int, *, edited: bool, processes: int) -> None:
    """edited: of every hundred rows one has another text."""
    (folder / "corpus").mkdir(exist_ok=True)
    with ProcessPoolExecutor(processes) as pool:
        for written in [pool.submit(write_file, folder, rows // files, file, edited) for file in range(files)]:
            written.result()


def write_file(folder: Path, rows: int, file: int, edited: bool) -> None:
    words = "a text of about a hundred bytes, with a number in it so that none is like another:"
    numbers = range(file * rows, (file + 1) * rows)
    texts = [f"{words} {number}{' edited' * (edited and not number % 100)}" for number in numbers]
    table = pa.table({"id": [f"document-{number}" for number in numbers], "text": texts})
    path = folder / f"corpus/{file:05d}.parquet"
    pq.write_table(table, path, row_group_size=100_000)
    os.utime(path, (1.6e9 + edited,) * 2)


def job(folder: Path, workers: int) -> JobConfig:
    return JobConfig.model_validate({
        "model": {"engine": "python:tests.bench.sync_scale:NarrowEngine"},
        "corpus": {"files": [str(folder / "corpus/*.parquet")], "partition_text_bytes": 16 << 20},
        "output": {"uri": str(folder / "out")},
        "workers": {"count": workers, "cpus": 1},
    })


def timed(name: str, told: dict[str, Any]) -> Any:
    real: Callable[..., Any] = getattr(Stages, name)

    def wrapped(stages: Stages, *arguments: Any) -> Any:
        begin, cpu = time.monotonic(), time.process_time()
        try:
            return real(stages, *arguments)
        finally:
            told[name] = {"s": round(time.monotonic() - begin, 2), "driver_cpu_s": round(time.process_time() - cpu, 2), "driver_mb": max(peak_mb(os.getpid()))}

    return mock.patch.object(Stages, name, wrapped)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--inline-rows", type=int, default=stages.INLINE_ROWS, help="up to so many rows the driver scans and compares by itself")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--step", choices=("make", "keys", "edit", "sync"))
    arguments = parser.parse_args()
    if arguments.step is None:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            for step in ("make", "keys", "edit", "sync"):
                given = [f"--{name}={getattr(arguments, name)}" for name in ("rows", "files", "processes", "cores")]
                given.append(f"--inline-rows={arguments.inline_rows}")
                subprocess.run([sys.executable, "-m", "tests.bench.sync_scale", *given, f"--folder={folder}", f"--step={step}"], check=True)
        return
    without_ray(max(arguments.processes, arguments.cores))
    stages.INLINE_ROWS = arguments.inline_rows
    told: dict[str, Any] = {"step": arguments.step}
    begin = time.monotonic()
    patches = [mock.patch(f"embermill.jobs.{module}.open_pool", open_process_pool) for module in ("run", "sync.stages")]
    for patch in [*patches, *(timed(name, told) for name in ("_begin", "_scan", "_differ", "_decide", "_write", "_commit"))]:
        patch.start()
    match arguments.step:
        case "make":
            write(arguments.folder, arguments.rows, arguments.files, edited=False, processes=arguments.processes)
            told["corpus_s"] = round(time.monotonic() - begin, 1)
            run(job(arguments.folder, arguments.processes))
        case "keys":  # of what the run made: the version after it has them
            sync(job(arguments.folder, arguments.processes), SyncOptions(rescan=True))
        case "edit":
            write(arguments.folder, arguments.rows, arguments.files, edited=True, processes=arguments.processes)
        case "sync":
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
            pa.set_cpu_count(arguments.cores)
            summary = sync(job(arguments.folder, arguments.cores))
            assert summary.texts_embedded == arguments.rows // 100, summary
    told["worker_mb"] = max(ProcessPool.peaks_mb, default=0)
    print(json.dumps(told | {"seconds": round(time.monotonic() - begin, 1), "driver_mb": max(peak_mb(os.getpid()))}), flush=True)


if __name__ == "__main__":
    main()
