"""Whether kernels compile to the same machine code as before: digests of every kernel of compile_all.py, written on one commit and compared on another.

    python infra/kernels/same_code.py write before.json       (on the old commit)
    python infra/kernels/same_code.py compare before.json     (on the new one: what is new is allowed, what differs or is gone ends it)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from embermill.encoder.backends.cupy.compiler import compile_kernels
from infra.kernels.compile_all import HALVES, HOPPER, NVIDIA, PORTABLE, STORAGES, TENSOR_CORES, Job, jobs
from infra.kernels.machine_code import functions


def digests() -> dict[str, str]:
    """"source defines architecture kernel" -> digest of its machine code."""
    every = [*jobs(PORTABLE, STORAGES, NVIDIA), *jobs(TENSOR_CORES, HALVES, NVIDIA), *jobs(HOPPER, HALVES, ("sm_90a",))]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = list(threads.map(_digests_of, every))
    return {name: digest for one in found for name, digest in one.items()}


def _digests_of(job: Job) -> dict[str, str]:
    source, defines, architecture = job
    words = " ".join(f"{key}={value}" for key, value in sorted(defines.items()))
    return {f"{source} {words} {architecture} {name}": hashlib.sha256(code).hexdigest() for name, code in functions(compile_kernels(*job)).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["write", "compare"])
    parser.add_argument("file", type=Path)
    args = parser.parse_args()
    now = digests()
    if args.action == "write":
        args.file.write_text(json.dumps(now, indent=0, sort_keys=True))
        return
    before = json.loads(args.file.read_text())
    other = [name for name, digest in before.items() if now.get(name) != digest]
    for name in other:
        print(f"{'not the same' if name in now else 'gone'}: {name}")
    print(f"{len(before) - len(other)} of {len(before)} kernels have the same machine code as before; {len(now.keys() - before.keys())} are new")
    raise SystemExit(bool(other))


if __name__ == "__main__":
    main()
