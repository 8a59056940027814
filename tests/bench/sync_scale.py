"""A sync of many rows of which 1 % changed, with an engine of 8 dimensions: seconds and memory of scan and difference.

    python -m tests.bench.sync_scale [--rows 10000000] [--files 100] [--folder DIR]

One process is driver and worker at once, without Ray; the peak is of both together. Corpus and dataset are made first, in a process of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embermill.jobs.config import JobConfig
from embermill.jobs.engine import Embedded, Output
from embermill.jobs.run import run
from embermill.jobs.sync.job import SyncOptions, sync
from embermill.jobs.sync.stages import Stages
from tests.jobs.command_line import open_inline_pool

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


def write(folder: Path, rows: int, files: int, *, edited: bool) -> None:
    """edited: of every hundred rows one has another text."""
    (folder / "corpus").mkdir(exist_ok=True)
    each = rows // files
    for file in range(files):
        numbers = np.arange(file * each, (file + 1) * each)
        texts = np.char.add("a text of about a hundred bytes, with a number in it so that none is like another: ", numbers.astype(str))
        if edited:
            texts[::100] = np.char.add(texts[::100], " edited")
        table = pa.table({"id": np.char.add("document-", numbers.astype(str)).tolist(), "text": texts.tolist()})
        pq.write_table(table, folder / f"corpus/{file:05d}.parquet", row_group_size=100_000)
        os.utime(folder / f"corpus/{file:05d}.parquet", (1.6e9 + edited,) * 2)


def job(folder: Path) -> JobConfig:
    return JobConfig.model_validate({
        "model": {"engine": "python:tests.bench.sync_scale:NarrowEngine"},
        "corpus": {"files": [str(folder / "corpus/*.parquet")], "partition_text_bytes": 16 << 20},
        "output": {"uri": str(folder / "out")},
        "workers": {"count": 1},
    })


def timed(name: str, told: dict[str, Any]) -> Any:
    real: Callable[..., Any] = getattr(Stages, name)

    def wrapped(stages: Stages, *arguments: Any) -> Any:
        begin, cpu = time.monotonic(), time.process_time()
        try:
            return real(stages, *arguments)
        finally:
            told[name] = {"s": round(time.monotonic() - begin, 2), "cpu_s": round(time.process_time() - cpu, 2), "peak_mb": peak_mb()}

    return mock.patch.object(Stages, name, wrapped)


def peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--step", choices=("make", "keys", "edit", "sync"))
    arguments = parser.parse_args()
    if arguments.step is None:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            for step in ("make", "keys", "edit", "sync"):
                given = ["--rows", str(arguments.rows), "--files", str(arguments.files), "--folder", folder, "--step", step]
                subprocess.run([sys.executable, "-m", "tests.bench.sync_scale", *given], check=True)
        return
    told: dict[str, Any] = {"step": arguments.step}
    begin = time.monotonic()
    patches = [mock.patch(f"embermill.jobs.{module}.open_pool", open_inline_pool) for module in ("run", "sync_stages")]
    for patch in [*patches, *(timed(name, told) for name in ("_begin", "_scan", "_differ", "_decide", "_write", "_commit"))]:
        patch.start()
    match arguments.step:
        case "make":
            write(arguments.folder, arguments.rows, arguments.files, edited=False)
            run(job(arguments.folder))
        case "keys":  # of what the run made: the version after it has them
            sync(job(arguments.folder), SyncOptions(rescan=True))
        case "edit":
            write(arguments.folder, arguments.rows, arguments.files, edited=True)
        case "sync":
            summary = sync(job(arguments.folder))
            assert summary.texts_embedded == arguments.rows // 100, summary
    print(json.dumps(told | {"seconds": round(time.monotonic() - begin, 1), "peak_mb": peak_mb()}), flush=True)


if __name__ == "__main__":
    main()
