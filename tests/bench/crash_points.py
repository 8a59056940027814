"""SIGKILL at every named point (tests/jobs/crashes/points.py) of every command that writes, on a disk and on S3 (moto); then the same command again.

    python -m tests.bench.crash_points [--storage disk s3] [--scenarios sync erase …] [--sample N] [--seed S] [--processes P]
    python -m tests.bench.crash_points --ray      the real command: SIGKILL of driver, raylet and worker at a worker's points, and of each at the driver's

After each: status and verify answer, the same command ends well, verify finds nothing, every shard is that of an undisturbed run bit for bit, and, once
`gc` has run, no file is left that an undisturbed run would not leave. Of a sync (`upgrade`: of a dataset of format 1; `changed`: its corpus changes
before it is run again) also nothing is embedded twice but what was in flight, and data/ stays as it was. After erase no file holds what was erased.
Prints a line for each point and storage; exit 1 where something is not as it should be.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from tests.jobs.crashes.ray_rounds import RayRounds
from tests.jobs.crashes.scenarios import Point, Put, put_file
from tests.jobs.crashes.server import serve_commands
from tests.jobs.crashes.syncs import CLASSES
from tests.jobs.stores.moto import run_moto
from tests.jobs.stores.proxy import Faults, FaultyProxy, run_proxy

SCENARIOS = tuple(CLASSES)


@contextlib.contextmanager
def storage(name: str, folder: Path) -> Iterator[tuple[str, Put, FaultyProxy | None]]:
    """(where corpus and datasets lie, how to put a file there, the proxy before it); the environment leads there."""
    if name == "disk":
        yield str(folder), put_file, None
        return
    bucket = f"killed-{uuid.uuid4().hex[:8]}"  # what moto holds outlives its server in this process
    with run_moto() as server, run_proxy(server.address, Faults()) as proxy:
        before = dict(os.environ)
        os.environ.update(server.environment | {"AWS_ENDPOINT_URL": proxy.address})
        try:
            server.create_bucket(bucket)
            yield f"s3://{bucket}", lambda url, data: server.put(bucket, url.removeprefix(f"s3://{bucket}/"), data), proxy
        finally:
            os.environ.clear()
            os.environ.update(before)


def choose(points: list[Point], count: int, rng: random.Random) -> list[Point]:
    """All, or so many."""
    return points if not count else sorted(rng.sample(points, min(count, len(points))), key=points.index)


def rounds(where: str, name: str, count: int, seed: int, share: tuple[int, int] = (0, 1)) -> Iterator[tuple[Point, list[str]]]:
    """(point, what is wrong). share: (k, n), the k-th of n parts of the points."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as place, storage(where, Path(place)) as (root, put, proxy), serve_commands(Path(place)) as commands:
        scenario = CLASSES[name](name, commands, Path(place), root, put, proxy)
        for point in choose(scenario.points, count, rng)[share[0] :: share[1]]:
            yield point, scenario.round(point, late_s=rng.uniform(0.3, 1.0))


def sweep(where: str, name: str, count: int, seed: int, share: tuple[int, int]) -> list[dict[str, object]]:
    try:
        return [{"storage": where, "command": name, "point": point.name, "wrong": wrong} for point, wrong in rounds(where, name, count, seed, share)]
    except Exception as error:
        return [{"storage": where, "command": name, "point": f"share {share}", "wrong": [f"{type(error).__name__}: {error}"]}]


def sweeps(args: argparse.Namespace) -> Iterator[dict[str, object]]:
    """A line for each point."""
    tasks = [(where, name) for where in args.storage for name in args.scenarios]
    shares = args.shares or -(-args.processes // len(tasks))
    with ProcessPoolExecutor(args.processes, multiprocessing.get_context("spawn")) as pool:
        started = [pool.submit(sweep, *task, args.sample, args.seed, (share, shares)) for share in range(shares) for task in tasks]
        for each in as_completed(started):
            yield from each.result()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", nargs="+", choices=("disk", "s3"), default=["disk", "s3"])
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--shares", type=int, default=0, help="into how many parts the points of a scenario go; as many as keep all processes busy")
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--only", default="", help="points whose name holds this")
    args = parser.parse_args()
    wrong, total, begin = 0, 0, time.monotonic()
    if args.ray:
        with tempfile.TemporaryDirectory() as place:
            for victim, at, problems in RayRounds(Path(place)).all(args.only):
                total, wrong = total + 1, wrong + bool(problems)
                print(json.dumps({"ray": victim, "at": at, "wrong": problems}), flush=True)
    else:
        for told in sweeps(args):
            total, wrong = total + 1, wrong + bool(told["wrong"])
            print(json.dumps(told), flush=True)
    print(json.dumps({"points": total, "wrong": wrong, "seconds": round(time.monotonic() - begin)}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
