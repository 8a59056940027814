"""A job of very many partitions, with workers that do nothing: what the driver takes for each, how much memory it holds, and how soon it resumes.

    python -m tests.bench.job_partitions [PARTITIONS] [--memory] [--at FOLDER]

`run` itself, from planning to the manifest, in a process of its own: with an InlinePool of stub workers in the place of Ray's, the shipped scheduler, commit
buffer, commit log, lease and manifest. A first run is stopped by SIGTERM when 99 % are committed; a second one resumes and finishes. The corpus is real: one
byte of it is a partition. Shards are files of one byte, so nothing may open them. --memory: the dataset lies in memory (one run, memory is not judged).
Prints a line for each run; exit 1 where one misses the bar.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

from embermill.jobs import preflight
from embermill.jobs import prepare as preparing
from embermill.jobs import run as running
from embermill.jobs.config import JobConfig
from embermill.jobs.errors import Interrupted
from embermill.jobs.partition import Partition
from embermill.jobs.pool.inline import InlinePool
from embermill.jobs.pool.opening import OpenPool
from embermill.jobs.pool.placement import Placement
from embermill.jobs.process.allocators import DRIVER_SETTINGS
from embermill.jobs.receipt import Done, Event, Progress, Ready, Receipt, Task
from embermill.jobs.shard.names import shard_name
from embermill.jobs.storage import Folder, open_folder
from embermill.jobs.worker.task_queue import TaskQueue
from tests.bench.stub_engine import StubEngine
from tests.jobs.stores.memory import MemoryFolder

FILES, WORKERS, ROWS = 100, 16, 25
PARTITIONS_PER_S, RESUME_S = 2000, 60.0
MOST_MB = {100_000: 300, 1_000_000: 1000}  # of the driver, by the number of partitions
PROVENANCE = {"device": "GPU-8fbe6949-0000-0000-0000-000000000000", "kernel_set": "hopper", "version": "0.2.0"}
LENGTHS = tuple((4 * step, 1) for step in range(1, ROWS + 1))


@dataclass
class Seen:
    """What the stub workers saw. began, ended: (wall clock, CPU of this process) in seconds."""

    began: tuple[float, float] | None = None
    ended: tuple[float, float] = (0.0, 0.0)
    partitions: int = 0


class StubWorker:
    """Publishes a byte for each partition, and gives a receipt as large as a real one."""

    def __init__(self, publish: Callable[[str], None], seen: Seen, stop_after: int) -> None:
        self._publish, self._seen, self._stop_after = publish, seen, stop_after

    def start(self) -> Ready:
        engine = StubEngine(None, device="cpu", threads=1)
        return Ready("cpu", "stub", "", "float32", engine.fingerprint(), engine.outputs(), "here", os.getpid(), 1)

    def run_queued(self, tasks: TaskQueue[Task], emit: Callable[[Event], None]) -> None:
        seen = self._seen
        seen.began = seen.began or clocks()
        while (task := tasks.take(0.0)) is not None:
            emit(Progress(task.partition.number, "encode", ROWS, 4 * ROWS, time.monotonic(), {"encode": 0.001}))
            emit(self._make(task.partition))
            emit(Done(task.partition.number, task.attempt))
            seen.partitions += 1
            if seen.partitions == self._stop_after:
                os.kill(os.getpid(), signal.SIGTERM)
        seen.ended = clocks()

    def _make(self, partition: Partition) -> Receipt:
        name = shard_name(partition, 0)
        self._publish(name)
        first = partition.segments[0].start
        return Receipt(
            partition=partition.number, ordinal=0, partition_id=partition.id, last=True, rows_in=ROWS, rows_out=ROWS, rows_quarantined=0,
            shard=name, shard_bytes=1, shard_sha256=hashlib.sha256(name.encode()).hexdigest(), quarantine=None, quarantine_bytes=0, quarantine_sha256="",
            first_id=f"doc-{first:012}", last_id=f"doc-{first + ROWS - 1:012}", documents=ROWS, tokens=50 * ROWS, tokens_dropped=0, rows_truncated=0,
            token_lengths=LENGTHS, adopted=False,
            provenance=PROVENANCE | {"worker": f"node-0001.cluster:{partition.number % WORKERS}"},
            input_digest=hashlib.blake2b(name.encode(), digest_size=16).hexdigest(),
        )  # fmt: skip


def clocks() -> tuple[float, float]:
    return time.monotonic(), time.process_time()


def corpus(folder: Path, partitions: int) -> None:
    """Texts of so many bytes, in all files together."""
    folder.mkdir()
    for number in range(FILES):
        size = partitions // FILES + (number < partitions % FILES)
        line = "a document\n"
        text = line * (size // len(line))
        (folder / f"{number:03d}.txt").write_text(text + " " * (size - len(text)))


def job(place: Path) -> JobConfig:
    return JobConfig.model_validate(
        {
            "model": {"engine": "python:tests.bench.stub_engine:StubEngine"},
            "corpus": {"files": [str(place / "corpus")], "partition_text_bytes": 1},
            "output": {"uri": str(place / "dataset")},
            "workers": {"count": WORKERS, "device": "cpu"},
        }
    )


def publisher(folder: Folder) -> Callable[[str], None]:
    if isinstance(folder, MemoryFolder):
        return lambda name: folder.create(name, b".")
    for name in ("data", "quarantine"):
        Path(folder.root, name).mkdir(parents=True, exist_ok=True)

    def publish(name: str) -> None:
        handle = os.open(f"{folder.root}/{name}", os.O_CREAT | os.O_WRONLY | os.O_EXCL)
        os.write(handle, b".")
        os.close(handle)

    return publish


def drive(place: Path, partitions: int, stop_after: int, in_memory: bool) -> dict[str, Any]:
    """One run in this process."""
    config, seen, begin = job(place), Seen(), clocks()
    folder: Folder = MemoryFolder() if in_memory else open_folder(config.output.uri)

    @contextlib.contextmanager
    def stub_pool(config: JobConfig, folder: Folder, plan: object) -> Iterator[OpenPool]:
        publish = publisher(folder)
        pool = InlinePool(lambda: StubWorker(publish, seen, stop_after))
        yield OpenPool(pool, Placement("cpu", WORKERS, 1))

    replaced = (mock.patch.object(running, "open_pool", stub_pool), mock.patch.object(preparing, "open_folder", lambda uri, **options: folder))
    with contextlib.ExitStack() as stack:
        for module in (running, preflight):
            stack.enter_context(mock.patch.object(module, "resolve_device", lambda config, planned=None: "cpu"))
        for patch in replaced:
            stack.enter_context(patch)
        ended_as = "finished"
        try:
            running.run(config)
        except Interrupted:
            ended_as = "stopped"
    end = clocks()
    began, ended = seen.began or end, seen.ended
    return {
        "ended": ended_as,
        "partitions": seen.partitions,
        "partitions_per_s": round(seen.partitions / max(ended[0] - began[0], 1e-9)),
        "partitions_per_cpu_s": round(seen.partitions / max(ended[1] - began[1], 1e-9)),
        "seconds_before_driving_after": [round(now[0] - before[0], 2) for before, now in pairwise((begin, began, ended, end))],
        "cpu_seconds": [round(now[1] - before[1], 2) for before, now in pairwise((begin, began, ended, end))],
        "rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def in_process(place: Path, partitions: int, stop_after: int) -> dict[str, Any]:
    """The same in a process of its own: what `--events`, a terminal and other runs take is not in it."""
    command = [sys.executable, "-m", "tests.bench.job_partitions", str(partitions), "--at", str(place), "--stop-after", str(stop_after), "--one"]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=os.environ | DRIVER_SETTINGS)  # as embermill's own command sets them
    if ran.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {ran.returncode}")
    return dict(json.loads(ran.stdout.splitlines()[-1]))


def main(partitions: int, place: Path, in_memory: bool) -> int:
    corpus(place / "corpus", partitions)
    if in_memory:
        results = {"in memory": drive(place, partitions, 0, True)}
    else:
        results = {"fresh": in_process(place, partitions, partitions - partitions // 100), "resumed": in_process(place, partitions, 0)}
    missed = []
    for name, result in results.items():
        print(name, json.dumps(result), flush=True)
        if name != "resumed" and result["partitions_per_s"] < PARTITIONS_PER_S:
            missed.append(f"{name}: {result['partitions_per_s']} partitions/s, the bar is {PARTITIONS_PER_S}")
        if not in_memory and result["rss_mb"] > MOST_MB.get(partitions, 1000):
            missed.append(f"{name}: {result['rss_mb']} MB, the bar is {MOST_MB.get(partitions, 1000)}")
        if name == "resumed" and result["seconds_before_driving_after"][0] > RESUME_S:
            missed.append(f"resumed after {result['seconds_before_driving_after'][0]} s, the bar is {RESUME_S}")
    print("\n".join(missed) or "all bars hold")
    return 1 if missed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.job_partitions")
    parser.add_argument("partitions", type=int, nargs="?", default=100_000)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--at", type=Path)
    parser.add_argument("--stop-after", type=int, default=0)
    parser.add_argument("--one", action="store_true", help="one run in this process")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(drive(arguments.at, arguments.partitions, arguments.stop_after, False)))
        sys.exit(0)
    with tempfile.TemporaryDirectory(dir=arguments.at) as temporary:
        sys.exit(main(arguments.partitions, Path(temporary), arguments.memory))
