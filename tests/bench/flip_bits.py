"""Flips bits of every file of a small dataset, one at a time, and asks `verify` each time: exit 3 and the file's name, or it is a failure.

    python -m tests.bench.flip_bits [--every N] [--seed S] [--of run redriven versions] [--processes P]     N: of how many bits one is flipped, 1 for all

With --repair one bit of each file (--times N: several, one at a time): `verify` names it, `repair` ends well, and `verify` then finds nothing.
A pass can be done in parts: --first 100 --last 199 takes those of the files, in order of their names, counted from 0; each line says which it was.

tests/jobs/test_flipped_bits.py does a sample of it. heartbeat, lease and tmp have no authority and are left out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.bench.without_ray import without_ray
from tests.jobs import command_line, worked_on

LEFT_OUT = ("README.md", "_embermill/heartbeat.json", "_embermill/lease/", "_embermill/runs/", "_embermill/tmp/")


def make_dataset(folder: Path) -> Path:
    """Finished, some partitions of some shards each, one row refused, and what a slower planner left."""
    from embermill.jobs import run as run_module

    (folder / "corpus").mkdir(parents=True)
    ids = pa.array([None if row == 7 else f"r{row}" for row in range(24)], pa.string())
    pq.write_table(pa.table({"id": ids, "text": [f"text {row}" for row in range(24)]}), folder / "corpus/a.parquet", row_group_size=8)
    real, run_module.open_pool = run_module.open_pool, command_line.open_inline_pool  # type: ignore[attr-defined]
    try:
        answer = command_line.run(folder, corpus={"partition_text_bytes": 60}, output_section={"shard_bytes": 600})
    finally:
        run_module.open_pool = real  # type: ignore[attr-defined]
    assert answer.code == 0, answer.errors
    (table,) = (answer.output / "_embermill/plan/000001").glob("inputs-*")
    other = table.read_bytes() + b"of another pyarrow"
    table.with_name(f"inputs-{hashlib.sha256(other).hexdigest()[:32]}.pq").write_bytes(other)
    return answer.output


DATASETS: dict[str, Callable[[Path], Path]] = {"run": make_dataset, "redriven": worked_on.make_redriven, "versions": worked_on.make_versions}
NOT_MADE_AGAIN = re.compile(r"(bases|changes|data)/.*|quarantine/part-.*")  # of "versions", since its corpus has changed; else sync/test_repair_versions.py


def repairable(kind: str, dataset: Path) -> list[str]:
    return [name for name in files_of(dataset) if kind != "versions" or NOT_MADE_AGAIN.fullmatch(name) is None]


def unrepaired(dataset: Path, name: str, rng: random.Random) -> str:
    """What went wrong when one bit of that file was flipped and repaired, in a copy; "" where nothing did."""
    with tempfile.TemporaryDirectory(dir=dataset.parent) as place, worked_on.inline_pools():
        copy = shutil.copytree(dataset, Path(place) / "copy")
        data = bytearray((copy / name).read_bytes())
        bit = rng.randrange(8 * len(data))
        data[bit // 8] ^= 1 << bit % 8
        (copy / name).write_bytes(data)
        found, repaired, after = (command_line.command(each, str(copy)) for each in ("verify", "repair", "verify"))
        right = (found.code, repaired.code, after.code) == (3, 0, 0) and name in found.errors
        return "" if right else f"{name} bit {bit}: {found.code} {repaired.code} {after.code}: {(found.errors + repaired.errors + after.errors)[-600:]}"


def files_of(dataset: Path) -> list[str]:
    names = sorted(path.relative_to(dataset).as_posix() for path in dataset.rglob("*") if path.is_file() and path.stat().st_size)  # _SUCCESS has no bits
    return [name for name in names if not name.startswith(LEFT_OUT)]


def bits_of(size: int, every: int, rng: random.Random) -> Iterator[int]:
    """Which bits of a file: one each of its first and last eight bytes, and one of `every` throughout."""
    if every == 1:
        yield from range(8 * size)
        return
    yield from (rng.randrange(64), rng.randrange(8 * size - 64, 8 * size))
    yield from range(rng.randrange(every), 8 * size, every)


def failures(dataset: Path, name: str, every: int, rng: random.Random) -> Iterator[str]:
    """What `verify` answered wrongly; yields "" for a right answer."""
    path = dataset / name
    whole = path.read_bytes()
    try:
        for bit in bits_of(len(whole), every, rng):
            path.write_bytes(whole[: bit // 8] + bytes([whole[bit // 8] ^ (1 << bit % 8)]) + whole[bit // 8 + 1 :])
            answer = command_line.command("verify", str(dataset))
            yield "" if answer.code == 3 and name in answer.errors else f"{name} bit {bit}: exit {answer.code}: {answer.errors[-300:]}"
    finally:
        path.write_bytes(whole)


def look(kind: str, dataset: Path, name: str, arguments: argparse.Namespace) -> tuple[str, list[str]]:
    """(what was looked at, each answer: "" for a right one), in a copy of the dataset."""
    without_ray()
    rng = random.Random(f"{arguments.seed} {kind} {name}")
    if arguments.repair:
        return f"{kind}: {name}", [unrepaired(dataset, name, rng) for _ in range(arguments.times)]
    with tempfile.TemporaryDirectory(dir=dataset.parent) as place:
        return f"{kind}: {name}", [*failures(shutil.copytree(dataset, Path(place) / "copy"), name, arguments.every, rng)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=97)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--of", nargs="+", choices=sorted(DATASETS), default=sorted(DATASETS))
    parser.add_argument("--repair", action="store_true")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--last", type=int, default=sys.maxsize)
    arguments = parser.parse_args()
    without_ray()
    begin, told = time.monotonic(), dict[str, list[str]]()
    with ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").exists() else None))
        pool = stack.enter_context(ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn")))
        made = {kind: DATASETS[kind](Path(place) / kind) for kind in arguments.of}
        wanted = [(kind, name) for kind, dataset in made.items() for name in (repairable(kind, dataset) if arguments.repair else files_of(dataset))]
        mine = [*enumerate(wanted)][arguments.first : arguments.last + 1]
        numbers = {pool.submit(look, kind, made[kind], name, arguments): number for number, (kind, name) in mine}
        for done in as_completed(numbers):
            name, answers = done.result()
            told[name] = answers
            found = {"number": numbers[done], "of": len(wanted), "file": name, "flips": len(answers), "wrong": [each for each in answers if each]}
            print(json.dumps(found), flush=True)
        assert all(command_line.command("verify", str(dataset)).code == 0 for dataset in made.values())
    wrong = [each for answers in told.values() for each in answers if each]
    counts = {"files": len(told), "flips": sum(map(len, told.values())), "wrong": len(wrong), "seconds": round(time.monotonic() - begin)}
    print(json.dumps(counts | {"first": wrong[:10]}))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
