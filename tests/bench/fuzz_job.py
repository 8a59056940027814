"""Fuzzes what a job reads: python -m tests.bench.fuzz_job [--count 200000] [--first-seed 0] [--processes N] [--subjects PREFIX]

Configurations, models and tokenizers, corpora, Parquet footers and a dataset's bookkeeping, mutated one file at a time and opened as the commands open
them, under a limit of memory and time, in child processes: one that aborts or hangs costs its seed and is replaced. A seed that does anything but being read
or refused with exit code 2, 3, 4 or 33 is printed with its subject: add both to FOUND in tests/jobs/test_hostile.py. Exit code 1 where there was any.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.bench.without_ray import without_ray
from tests.jobs.command_line import make_dataset
from tests.jobs.hostile import Subject, try_one, write
from tests.jobs.hostile_subjects import subjects
from tests.jobs.worked_on import make_changed

MEMORY_LIMIT = 6 << 30  # address space of a process: Arrow's pools and threads take a good part of it
GROWTH_LIMIT_KB = 2400 << 10  # of a process's memory by one file: a page of Parquet may claim 2 GiB, which Arrow sets aside before it decompresses
SLOW_S = 5.0  # of CPU time
HANG_S = 60.0
CHUNK = 400  # seeds that a child tries before it is replaced: what a library leaks is no matter

Kinds = dict[str, Subject]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--subjects", default="", metavar="PREFIX", help="those whose name begins so")
    parser.add_argument("--not-subjects", metavar="PREFIX", help="all but those whose name begins so")
    arguments = parser.parse_args()
    without_ray()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = "1"
    started = time.perf_counter()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.count)
    with tempfile.TemporaryDirectory(prefix="fuzz_job-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        where = Path(name)
        made = subjects(where, make_dataset(where / "made"), make_changed(where / "versions"))
        left_out = tuple(filter(None, [arguments.not_subjects]))
        kinds = {kind: subject for kind, subject in made.items() if kind.startswith(arguments.subjects) and not kind.startswith(left_out)}
        found = Fuzzing(kinds, where).run(seeds, arguments.processes)
    for key in sorted(found.counts):
        print(f"{key:36} {found.counts[key]:10,}")
    print(f"{arguments.count:,} files in {time.perf_counter() - started:.0f} s, {len(found.bad)} found, peak {found.peak_kb >> 10} MB of a process")
    for line in found.bad:
        print(f"found: {line}")
    return 1 if found.bad else 0


class Fuzzing:
    """counts: how many files of a subject had an outcome. bad: what else happened. peak_kb: of the greatest child."""

    def __init__(self, kinds: Kinds, where: Path) -> None:
        self._kinds, self._where = kinds, where
        self._context = multiprocessing.get_context("fork")
        self.counts, self.bad, self.peak_kb = Counter[str](), list[str](), 0

    def run(self, seeds: range, processes: int) -> Fuzzing:
        chunks = [seeds[first : first + CHUNK] for first in range(0, len(seeds), CHUNK)][::-1]
        children: dict[Connection, Child] = {}
        while chunks or children:
            while chunks and len(children) < processes:
                child = Child(self._context, self._kinds, self._where / f"child-{len(chunks)}-{chunks[-1].start}", chunks.pop())
                children[child.connection] = child
            ready = wait(list(children), timeout=1.0)
            for connection, child in list(children.items()):
                if connection in ready and not self._hear(child):
                    del children[connection]
                    chunks += self._bury(child)
                elif time.monotonic() - child.heard_s > HANG_S:
                    child.process.kill()
                    child.hung = True
        return self

    def _hear(self, child: Child) -> bool:
        """False where the child is through."""
        child.heard_s = time.monotonic()
        try:
            kind, text, number = child.connection.recv()
        except (EOFError, ConnectionError, struct.error):
            return False
        if kind == "begun":
            child.seed = number
        elif kind == "outcome":
            self.counts[text] += 1
        elif kind == "peak":
            self.peak_kb = max(self.peak_kb, number)
        else:
            self._note(f"{text} (seed {number}): {kind}")
        return True

    def _bury(self, child: Child) -> Iterable[range]:
        """What is left of its seeds."""
        child.process.join()
        code = child.process.exitcode
        if code == 0:
            return []
        how = "hung" if child.hung else f"died of {signal.Signals(-code).name}" if code and code < 0 else f"exit {code}"
        self._note(f"{kind_of(self._kinds, child.seed)} (seed {child.seed}): {how}")
        left = range(child.seed + 1, child.seeds.stop)
        return [left] if left else []

    def _note(self, line: str) -> None:
        self.bad.append(line)
        print(f"found: {line}", file=sys.stderr, flush=True)


class Child:
    """A process that tries some seeds; tells of each before it begins, and what became of it."""

    def __init__(self, context: multiprocessing.context.ForkContext, kinds: Kinds, where: Path, seeds: range) -> None:
        self.connection, theirs = context.Pipe(duplex=False)
        self.seeds, self.seed, self.hung, self.heard_s = seeds, seeds.start, False, time.monotonic()
        self.process: BaseProcess = context.Process(target=try_seeds, args=(theirs, kinds, where, seeds))
        self.process.start()
        theirs.close()


def try_seeds(connection: Connection, kinds: Kinds, where: Path, seeds: range) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    folders = {kind: where / kind for kind in kinds}
    with tempfile.TemporaryDirectory(dir=where.parent) as home:
        os.chdir(home)
        for seed in seeds:
            kind = kind_of(kinds, seed)
            if not folders[kind].exists():
                write(kinds[kind], folders[kind])
            connection.send(("begun", kind, seed))
            before_s, before_kb = time.process_time(), peak_kb()
            try:
                _, outcome = try_one(kinds, folders, seed, kind)
                connection.send(("outcome", f"{kind}: {outcome}", seed))
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                connection.send((f"{type(error).__name__}: {str(error)[:300]}\n{traceback.format_exc()[-3000:]}", kind, seed))
            if (took_s := time.process_time() - before_s) > SLOW_S:
                connection.send((f"took {took_s:.1f} s of CPU", kind, seed))
            if (grew := peak_kb() - before_kb) > GROWTH_LIMIT_KB:
                connection.send((f"took {grew >> 10} MB", kind, seed))
    connection.send(("peak", "", peak_kb()))


def kind_of(kinds: Kinds, seed: int) -> str:
    return sorted(kinds)[seed % len(kinds)]


def peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.exit(main())
