"""python -m tests.jobs.histories --count 100000 --processes 64 [--first 0] [--steps 8]: the seeds that break a promise, with their histories."""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import pyarrow as pa

from tests.jobs.histories.checks import check
from tests.jobs.histories.world import open_world


def run(seed: int, steps: int) -> tuple[int, str, int]:
    """(seed, what is wrong or "", cursors that were checked)"""
    try:
        world = open_world(seed, steps)
        check(world)
    except Exception as error:
        return seed, f"{type(error).__name__}: {error}", 0
    return seed, "", len(world.snapshots)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    begin, bad, cursors, seeds = time.monotonic(), 0, 0, range(arguments.first, arguments.first + arguments.count)
    with ProcessPoolExecutor(arguments.processes, initializer=pa.set_cpu_count, initargs=(1,)) as processes:
        for seed, wrong, checked in processes.map(run, seeds, [arguments.steps] * arguments.count, chunksize=50):
            cursors += checked
            if wrong:
                bad += 1
                print(f"seed {seed}: {wrong}", flush=True)
    print(f"{arguments.count} histories from seed {arguments.first}, {cursors} cursors, {bad} violations, {time.monotonic() - begin:.0f} s", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
