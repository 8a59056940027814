"""The seeds that break a promise, with their histories: python -m tests.jobs.histories --count 100000 --processes 64 [--first 0] [--steps 6] [--seconds 500]"""

from __future__ import annotations

import argparse
import math
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack

import pyarrow as pa

from tests.jobs.histories.checks import check
from tests.jobs.histories.decoding_once import decoding_once
from tests.jobs.histories.world import open_world

AT_A_TIME = 64  # histories of a process


_of_this_process = ExitStack()  # a context that nobody holds is left as soon as it was entered


def prepare() -> None:
    """A process with one thread that decodes each file once."""
    pa.set_cpu_count(1)
    _of_this_process.enter_context(decoding_once())


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
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no more histories after so long, and say where to go on")
    arguments = parser.parse_args()
    begin, bad, cursors, done = time.monotonic(), 0, 0, 0
    seeds = range(arguments.first, arguments.first + arguments.count)
    groups = [seeds[at : at + AT_A_TIME * arguments.processes] for at in range(0, len(seeds), AT_A_TIME * arguments.processes)]
    with ProcessPoolExecutor(arguments.processes, initializer=prepare) as processes:
        for group in groups:
            if time.monotonic() - begin > arguments.seconds:
                break
            for seed, wrong, checked in processes.map(run, group, [arguments.steps] * len(group), chunksize=AT_A_TIME // 4):
                cursors, done = cursors + checked, done + 1
                if wrong:
                    bad += 1
                    print(f"seed {seed}: {wrong}", flush=True)
    seconds = time.monotonic() - begin
    print(f"{done} histories from seed {arguments.first} to before {seeds[0] + done}, {cursors} cursors, {bad} violations, {seconds:.0f} s", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
