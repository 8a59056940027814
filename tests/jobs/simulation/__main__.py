"""python -m tests.jobs.simulation [SEEDS] [FIRST] [--processes N]: that many seeds, a tenth of which have nodes that come and go.

A seed that fails is printed with the end of its shortest trace.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.jobs.simulation.moving import MOVING_FROM
from tests.jobs.simulation.shrinking import failure_of

BLOCK = 100
MOVING_SHARE = 10
SHOWN = 5  # failures with their traces; of all others the seed alone


def failures_of(block: range) -> list[tuple[int, str]]:
    gc.disable()
    try:
        return [(seed, found) for seed in block if (found := failure_of(seed)) is not None]
    finally:
        gc.collect()


def blocks_of(seeds: int, first: int) -> list[range]:
    """Of many, every tenth block is one of seeds whose nodes move; a few are those that were asked for."""
    blocks = [range(begin, min(begin + BLOCK, first + seeds)) for begin in range(first, first + seeds, BLOCK)]
    for tenth in range(0, len(blocks) - MOVING_SHARE + 1, MOVING_SHARE):
        begin = MOVING_FROM + blocks[tenth].start // MOVING_SHARE
        blocks[tenth] = range(begin, begin + BLOCK)
    return blocks


def main(seeds: int, first: int, processes: int) -> int:
    begin_s = time.monotonic()
    with ProcessPoolExecutor(processes) as pool:
        failures = [found for block in pool.map(failures_of, blocks_of(seeds, first)) for found in block]
    for _, found in failures[:SHOWN]:
        print(found, file=sys.stderr)
    if failures:
        print("failed:", *(seed for seed, _ in failures), file=sys.stderr)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_ms = (used.ru_utime + used.ru_stime) / seeds * 1000
    print(f"{seeds} seeds from {first} in {processes} processes: {time.monotonic() - begin_s:.0f} s, {cpu_ms:.1f} ms of CPU each; {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.jobs.simulation")
    parser.add_argument("seeds", type=int, nargs="?", default=100_000)
    parser.add_argument("first", type=int, nargs="?", default=0)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    sys.exit(main(arguments.seeds, arguments.first, arguments.processes))
