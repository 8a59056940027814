"""Fuzzes the weight readers: python -m tests.bench.fuzz_weights [--count 200000] [--first-seed 0]

Every mutated file is written, opened, listed and read to its last element under a limit of memory and time. A file that does anything but
being read or raising WeightsError is kept beside its seed; add the seed to FOUND in tests/encoder/weights/test_mutated_files.py.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.encoder.weights.mutations import mutate, outcome
from tests.encoder.weights.tiny_bert import every_kind

MEMORY_LIMIT = 1 << 30  # address space: NumPy and its threads take half of it
SLOW_S = 2.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "fuzz_weights_found")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    files, counts, found, slowest = every_kind(), Counter[str](), 0, 0.0
    names = sorted(files)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.count):
            name = names[seed % len(names)]
            path = Path(folder) / name
            data = mutate(random.Random(seed), name, files[name])
            path.write_bytes(data)
            before = time.perf_counter()
            try:
                counts[f"{name} {outcome(path)}"] += 1
            except BaseException:
                traceback.print_exc()
                found += 1
                arguments.keep.mkdir(parents=True, exist_ok=True)
                (arguments.keep / f"{seed}-{name}").write_bytes(data)
                print(f"found: ({name!r}, {seed})", file=sys.stderr)
            took = time.perf_counter() - before
            slowest = max(slowest, took)
            if took > SLOW_S:
                found += 1
                print(f"slow: ({name!r}, {seed}) took {took:.1f} s", file=sys.stderr)
    for key in sorted(counts):
        print(f"{key:32} {counts[key]:8,}")
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{arguments.count:,} files in {seconds:.0f} s, {found} found, slowest {slowest * 1e3:.0f} ms, peak {peak} MB")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
