"""How fast rows go through a worker with a forward pass that costs nothing, and which threads and lines that takes: for reader, tokenizer and writer.

    python -m tests.bench.job_pace CORPUS --model FOLDER [--at /dev/shm/job-pace] [--compact] [--partition-text-bytes N] [--spy PY_SPY]

The pipeline of a worker as a GPU has it (its batches, its partitions), in this process; CORPUS is a folder of Parquet files (id, text). Prints rows/s, and
CPU seconds of each thread by its name; --compact: float16, int8 and bits beside float32; --spy: the lines that hold the interpreter, by `py-spy record --gil`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from embermill.jobs.config import JobConfig
from embermill.jobs.vectors.form import StoredVector

SCALE = 0.0012  # of int8: near what is measured of vectors of 768 random numbers


class StubProgram:
    """Vectors that are there already."""

    depth = 3

    def __init__(self, dimension: int) -> None:
        vectors = np.random.default_rng(0).standard_normal((65_536, dimension), np.float32)
        self._vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def submit(self, batch: Any) -> StubProgram:
        self.rows = len(batch.order)
        return Pending(self._vectors[: self.rows])  # type: ignore[return-value]

    def close(self) -> None:
        pass


class Pending:
    def __init__(self, vectors: np.ndarray) -> None:
        self._vectors = vectors

    def result(self) -> np.ndarray:
        return self._vectors


def stub_engine(model: Path) -> Any:
    from embermill.encoder.pipeline.runner import Runner
    from embermill.encoder.pipeline.stream import Budget
    from embermill.jobs.engine.native import NativeEngine

    config = JobConfig.model_validate({"model": {"source": str(model)}, "corpus": {"files": ["x"]}, "output": {"uri": "/x"}})
    engine = NativeEngine(config.model, device="cpu", threads=os.cpu_count() or 1)
    encoder = engine._encoder
    encoder._runner.close()
    encoder._runner = Runner(StubProgram(encoder.dimension), encoder._encode_busy)  # type: ignore[arg-type]
    encoder.__dict__["_budget"] = Budget(1 << 17, 1, 1 << 17, 2)
    return engine


def compact_columns(dim: int) -> tuple[StoredVector, ...]:
    """As output.vectors of tests.bench.compact_pace."""
    return (
        StoredVector("embedding", "embedding", "float32", dim), StoredVector("embedding_half", "embedding", "float16", dim),
        StoredVector("embedding_int8", "embedding", "int8", dim, packing="symmetric", scale=SCALE),
        StoredVector("embedding_bits", "embedding", "ubinary", dim, packing="msb"),
    )  # fmt: skip


def run(args: argparse.Namespace, engine: Any) -> None:
    from functools import partial

    from embermill.jobs.corpus.reading import read_rows
    from embermill.jobs.plan.planning import make_plan
    from embermill.jobs.prepare import prepare
    from embermill.jobs.receipt import Receipt, Task
    from embermill.jobs.shard.writer import ShardWriter
    from embermill.jobs.storage import open_folder
    from embermill.jobs.worker.cutting import LIMITS
    from embermill.jobs.worker.pipeline import Pipeline
    from embermill.jobs.worker.task_queue import TaskQueue
    from embermill.jobs.worker.token_check import TokenCheck
    from embermill.jobs.worker.writing import Work
    from embermill.jobs.worker.writing_helpers import helpers_for

    files = {"files": [str(args.corpus / "*.parquet")], "partition_text_bytes": args.partition_text_bytes}
    model = {"source": str(engine._encoder.description.model.folder)}
    config = JobConfig.model_validate({"model": model, "corpus": files, "output": {"uri": str(args.at)}})
    found = prepare(config)
    assert found.prospect is not None
    vectors = compact_columns(engine.outputs()[0].dim) if args.compact else ()
    plan = make_plan(config, engine.fingerprint(), engine.outputs(), "cpu", "float32", files=found.prospect.files, listed_s=0.0, vectors=vectors)
    folder = open_folder(str(args.at))
    work = Work(
        read=partial(read_rows, schema=plan.rows, unreadable={}), open_shard=partial(ShardWriter, folder, plan, **helpers_for(args.threads)),
        rows_per_shard=plan.rows_per_shard, limits=LIMITS["gpu"], tokens=TokenCheck(engine, folder), provenance={},
    )  # fmt: skip
    tasks, receipts = TaskQueue[Task](), list[Receipt]()
    for partition in plan.partitions:
        tasks.put(Task(partition))
    tasks.finish()
    watching = Spy(args.spy) if args.spy else None
    stop, seen = threading.Event(), dict[str, float]()
    threading.Thread(target=watch_threads, args=(stop, seen), daemon=True).start()
    begin = time.monotonic()
    Pipeline(engine, work, lambda event: receipts.append(event) if isinstance(event, Receipt) else None).run(tasks)
    took = time.monotonic() - begin
    stop.set()
    rows, tokens = sum(receipt.rows_out for receipt in receipts), sum(receipt.tokens for receipt in receipts)
    size = sum(receipt.shard_bytes for receipt in receipts)
    cpu = {name: round(seconds / rows * 1e6, 2) for name, seconds in sorted(seen.items(), key=lambda pair: -pair[1]) if seconds > 0.05}
    figures = dict(rows=rows, seconds=round(took, 2), rows_s=round(rows / took), mtok_s=round(tokens / took / 1e6, 2), bytes_a_row=round(size / rows))
    print(json.dumps(figures | dict(tokenizer=engine.tokenizer_name, cpu_us_a_row=cpu)), flush=True)
    if watching:
        watching.tell()


class Spy:
    def __init__(self, program: str) -> None:
        command = [program, "record", "--gil", "-r", "200", "-d", "600", "-f", "raw", "-o", "/tmp/job-pace.raw", "--pid", str(os.getpid())]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._begin = time.monotonic()
        time.sleep(1)

    def tell(self) -> None:
        import signal

        took = time.monotonic() - self._begin
        self._process.send_signal(signal.SIGINT)
        self._process.wait()
        by_line: Counter[str] = Counter()
        for line in Path("/tmp/job-pace.raw").read_text().splitlines():
            frames, _, samples = line.rpartition(" ")
            ours = [frame for frame in frames.split(";") if "embermill" in frame]
            by_line[f"{ours[-1] if ours else ''} < {frames.split(';')[-1]}"] += int(samples)
        print(f"interpreter held {sum(by_line.values()) / took / 200:.2f}")
        for words, count in by_line.most_common(30):
            print(f"{count / sum(by_line.values()):6.1%} {words}")


def watch_threads(stop: threading.Event, seen: dict[str, float]) -> None:
    """CPU seconds of each kind of thread, from /proc; what a thread used stays when it is gone."""
    ticks, mine = os.sysconf("SC_CLK_TCK"), dict[str, tuple[str, float, float]]()
    while True:
        names = {str(thread.native_id): thread.name.rstrip("0123456789_-") for thread in threading.enumerate()}
        for place in Path("/proc/self/task").iterdir():
            task = place.name
            try:
                stat = (place / "stat").read_text()
            except OSError:
                continue
            name, fields = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2 :].split()
            used = (int(fields[11]) + int(fields[12])) / ticks
            first = mine[task][1] if task in mine else used
            mine[task] = (names.get(task, name), first, used)
        by_name: Counter[str] = Counter()
        for name, first, used in mine.values():
            by_name[name] += used - first  # type: ignore[assignment]
        seen.update(by_name)
        if stop.wait(0.1):
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--at", type=Path, default=Path("/dev/shm/job-pace"))
    parser.add_argument("--spy", default="")
    parser.add_argument("--threads", type=int, default=16, help="of the CPU that the worker believes it has: what helps its writer follows from it")
    parser.add_argument("--compact", action="store_true")
    parser.add_argument("--partition-text-bytes", type=int, default=64 << 20)
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    engine = stub_engine(args.model)
    for _ in range(args.rounds):
        shutil.rmtree(args.at, ignore_errors=True)
        run(args, engine)
    shutil.rmtree(args.at, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    main()
