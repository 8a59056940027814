"""Fuzzes what a job reads: python -m tests.bench.fuzz_job [--count 200000] [--first-seed 0]

Configurations, models and tokenizers, corpora, Parquet footers and a dataset's bookkeeping, mutated one file at a time and opened as the commands open
them, under a limit of memory and time. A seed that does anything but being read or refused with exit code 2, 3, 4 or 33 is printed: add it to FOUND in
tests/jobs/test_hostile.py. A crash of the process leaves the seed in --log.
"""

from __future__ import annotations

import argparse
import logging
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.jobs.command_line import make_dataset
from tests.jobs.hostile import subjects, try_one, write

MEMORY_LIMIT = 4 << 30  # address space: Arrow's pools and threads take a good part of it
SLOW_S = 5.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--log", type=Path, default=Path(tempfile.gettempdir()) / "fuzz_job_seed")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    counts, found, slowest = Counter[str](), 0, 0.0
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        where = Path(name)
        kinds = subjects(where, make_dataset(where / "made"))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
        folders = {kind: where / kind for kind in kinds}
        for kind, subject in kinds.items():
            write(subject, folders[kind])
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.count):
            arguments.log.write_text(str(seed))
            before = time.perf_counter()
            try:
                what, outcome = try_one(kinds, folders, seed)
                counts[f"{what.partition(':')[0]} {outcome}"] += 1
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                traceback.print_exc()
                found += 1
                print(f"found: {seed}", file=sys.stderr, flush=True)
            took = time.perf_counter() - before
            slowest = max(slowest, took)
            if took > SLOW_S:
                found += 1
                print(f"slow: {seed} took {took:.1f} s", file=sys.stderr, flush=True)
    for key in sorted(counts):
        print(f"{key:24} {counts[key]:8,}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{arguments.count:,} files in {time.perf_counter() - started:.0f} s, {found} found, slowest {slowest * 1e3:.0f} ms, peak {peak} MB")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
