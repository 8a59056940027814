"""python -m tests.jobs.simulation [SEEDS] [FIRST]: that many seeds, on every core. A seed that fails is printed with the end of its shortest trace."""

from __future__ import annotations

import gc
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.jobs.simulation.shrinking import failure_of

BLOCK = 100


def failures_of(first: int) -> list[str]:
    gc.disable()
    try:
        return [found for seed in range(first, first + BLOCK) if (found := failure_of(seed)) is not None]
    finally:
        gc.collect()


def main(seeds: int, first: int) -> int:
    begin_s, cores = time.monotonic(), len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores) as processes:
        failures = [found for block in processes.map(failures_of, range(first, first + seeds, BLOCK)) for found in block]
    for found in failures[:5]:
        print(found, file=sys.stderr)
    print(f"{seeds} seeds from {first} on {cores} cores in {time.monotonic() - begin_s:.0f} s: {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, int(sys.argv[2]) if len(sys.argv) > 2 else 0))
