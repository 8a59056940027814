"""SIGKILL at every named point (tests/jobs/crashes/points.py) of run, redrive, repair, gc and sync, on a disk and on S3 (moto); then the same command again.

    python -m tests.bench.crash_points [--storage disk s3] [--scenarios run redrive repair gc sync] [--sample N] [--seed S] [--list]
    python -m tests.bench.crash_points --ray      the real command: SIGKILL of driver, raylet and worker at a worker's points, and of each at the driver's

After each: status and verify answer, the same command ends well, verify finds nothing, every shard is that of an undisturbed run bit for bit, and, once
`gc` has run, no file is left that an undisturbed run would not leave. Prints a line for each point and storage; exit 1 where something is not as it should be.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.jobs.crashes.ray_rounds import RayRounds
from tests.jobs.crashes.scenarios import Point, Put, Scenario, put_file
from tests.jobs.crashes.server import serve_commands
from tests.jobs.crashes.syncs import SyncScenario
from tests.jobs.stores.moto import run_moto
from tests.jobs.stores.proxy import Faults, FaultyProxy, run_proxy

SCENARIOS = ("run", "redrive", "repair", "gc", "sync")
BUCKET = "killed"


@contextlib.contextmanager
def storage(name: str, folder: Path) -> Iterator[tuple[str, Put, FaultyProxy | None]]:
    """(where corpus and datasets lie, how to put a file there, the proxy before it); the environment leads there."""
    if name == "disk":
        yield str(folder), put_file, None
        return
    with run_moto() as server, run_proxy(server.address, Faults()) as proxy:
        before = dict(os.environ)
        os.environ.update(server.environment | {"AWS_ENDPOINT_URL": proxy.address})
        try:
            server.create_bucket(BUCKET)
            yield f"s3://{BUCKET}", lambda url, data: server.put(BUCKET, url.removeprefix(f"s3://{BUCKET}/"), data), proxy
        finally:
            os.environ.clear()
            os.environ.update(before)


def choose(points: list[Point], count: int, rng: random.Random) -> list[Point]:
    """All, or so many."""
    return points if not count else sorted(rng.sample(points, min(count, len(points))), key=points.index)


def rounds(where: str, names: list[str], count: int, seed: int) -> Iterator[tuple[str, Point, list[str]]]:
    """(scenario, point, what is wrong)"""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as place, storage(where, Path(place)) as (root, put, proxy), serve_commands(Path(place)) as commands:
        for name in names:
            scenario = (SyncScenario if name == "sync" else Scenario)(name, commands, Path(place), root, put, proxy)
            for point in choose(scenario.points, count, rng):
                yield name, point, scenario.round(point, late_s=rng.uniform(0.3, 1.0))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", nargs="+", choices=("disk", "s3"), default=["disk", "s3"])
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
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
        for where in args.storage:
            for name, point, problems in rounds(where, args.scenarios, args.sample, args.seed):
                total, wrong = total + 1, wrong + bool(problems)
                print(json.dumps({"storage": where, "command": name, "point": point.name, "wrong": problems}), flush=True)
    print(json.dumps({"points": total, "wrong": wrong, "seconds": round(time.monotonic() - begin)}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
