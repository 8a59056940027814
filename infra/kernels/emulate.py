"""Runs our kernels on the CPU against NumPy in float64: what needs no GPU to be wrong is found without one. kernels_on_cpu.h says what is not.

    python emulate.py [--clang clang-19]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from infra.kernels.emulated_hopper import hopper_cases
from infra.kernels.emulated_portable import portable_cases


def check(kind: str, cases: Iterator[tuple[str, float]]) -> None:
    begin, found = time.perf_counter(), dict(cases)
    for name, error in found.items():
        if not error <= 1:
            raise SystemExit(f"{name}, emulated: {error:.1f} times as far from float64 as is allowed (infra/kernels/emulator.py)")
    seconds, worst = time.perf_counter() - begin, max(found.values())
    print(f"emulated on the CPU: {len(found)} {kind} kernels, at most {worst:.0%} of what they may be from float64, in {seconds:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clang", default="clang-19")
    clang = parser.parse_args().clang
    check("portable", portable_cases(clang))
    check("Hopper", hopper_cases(clang))


if __name__ == "__main__":
    main()
