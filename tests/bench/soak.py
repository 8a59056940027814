"""A long run that is killed all the time: rows balance, the driver's memory does not grow, and nothing of ours is left at the end.

    python -m tests.bench.soak [--minutes 30] [--kill-every 20] [--seed 0] [--folder /tmp] [--samples FILE]

Real commands on a private Ray, with an engine that sleeps. In the first third of the time the driver, Ray's raylet or a worker is killed, as the seed
says, and the command is run again at once; after that a worker each time, so that one driver lives for the other two thirds and its memory can be judged.
Beside it, with each driver, begins one of plain Ray (plain_actors.py), whose actors are killed when the job's workers are: what Ray itself keeps of them is
seen there, and what the job's driver grows by beyond it is judged, less what the receipts of the dataset take.
The corpus is as large as this machine embeds in that time; what is left of it at the end is embedded undisturbed. Prints JSON lines; exit 1 where a
promise is broken.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from embermill.jobs.config import load_config
from embermill.jobs.dataset.views.compare import differences
from embermill.jobs.dataset.views.verify import verify
from embermill.jobs.pool.ray_session import UNREAD
from embermill.jobs.process.allocators import DRIVER_SETTINGS
from embermill.jobs.run import run
from embermill.jobs.storage import open_folder
from tests.jobs.command_line import open_inline_pool
from tests.jobs.crashes.scenarios import collect_in_two_days

ROOT = Path(__file__).parent.parent.parent
ROWS_A_SECOND = 300  # of two workers that sleep 5 ms a text and are killed in turns, on two busy cores
WARM_S = 120.0  # of a driver's life, left out when its memory is judged
RECEIPT_BYTES = 400  # what a receipt takes in the commit log and beside it (measured: 6,000 of them, three a commit); a driver holds those of its dataset
NOTHING = '{"deaths": 0, "messages": 0, "calls": 0}'
SAID_EVERY_S = 1.0  # by each actor of the plain driver; a worker of the job says something about as often
BLOCK_S = 30.0  # samples of one block are averaged: neighbours in time say nearly the same
VICTIMS = ("driver", "raylet", "worker", "worker")
AGAIN = (0, 33, -signal.SIGKILL)
RAYS_END = "Failed to register worker to Raylet"  # a raylet that is killed while the driver registers with it: Ray's own code ends the process with 1


def configure(folder: Path, name: str, rows: int) -> Path:
    if not (folder / "corpus.parquet").exists():
        texts = [f"document {row} {'x' * (row % 40)}" for row in range(rows)]
        pq.write_table(pa.table({"id": [f"r{row}" for row in range(rows)], "text": texts}), folder / "corpus.parquet", row_group_size=5000)
    job: dict[str, dict[str, Any]] = {
        "model": {"engine": "python:tests.bench.sleeping_engine:SleepingEngine"},
        "corpus": {"files": [str(folder / "corpus.parquet")], "partition_text_bytes": 16000},
        "output": {"uri": str(folder / name), "shard_bytes": 100_000},
        "workers": {"count": 2, "device": "cpu"},
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(job))
    return folder / f"{name}.yaml"


class Soak:
    """One job, killed and run again.

    sizes: (seconds since the start, driver's pid, its resident bytes, shards, resident bytes of the plain driver beside it), once both are at work.
    """

    def __init__(self, job: Path, scratch: Path, seed: int) -> None:
        (scratch.parent / "p").mkdir()
        self._plain: subprocess.Popen[str] | None = None
        self._plain_folder = scratch.parent / "p"
        self._rng, self._scratch, self._data = random.Random(seed), scratch, job.with_suffix("") / "data"
        self._command = [sys.executable, "-m", "embermill", "run", str(job), "--json"]
        self.begin_s = time.monotonic()
        self.sizes: list[tuple[float, int, int, int, int]] = []
        self.kills, self.exits = Counter[str](), Counter[int]()
        self.answer: dict[str, Any] = {}
        self._start()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.begin_s

    def _start(self) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        environment = os.environ | {"TMPDIR": str(self._scratch)}
        self._shards_before = self._count_shards()
        self._driver = subprocess.Popen(self._command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=self._errors, text=True)
        self._start_plain()

    def _start_plain(self) -> None:
        """One of the same age as the driver: what it takes at first, and then no more, must not count."""
        self.end_plain()
        self._told = tempfile.TemporaryFile("w+")  # noqa: SIM115
        environment = os.environ | DRIVER_SETTINGS | UNREAD | {"TMPDIR": str(self._plain_folder)}
        command = [sys.executable, "-m", "tests.bench.plain_actors", "--every", str(SAID_EVERY_S)]
        self._plain = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=self._told, stderr=subprocess.STDOUT, text=True)

    def end_plain(self) -> None:
        if self._plain is not None and self._plain.stdin is not None:
            self._plain.stdin.close()
            self._plain.wait()

    def plain_told(self) -> dict[str, int]:
        """What the plain driver counted: deaths, messages, calls."""
        told = os.pread(self._told.fileno(), 1 << 24, 0).decode()  # its own place is where the driver writes
        return json.loads(([NOTHING] + [line for line in told.splitlines() if line.startswith(NOTHING[:9]) and line.endswith("}")])[-1])

    def _count_shards(self) -> int:
        return sum(1 for _ in self._data.glob("*.parquet"))

    def go_on(self) -> bool:
        """Look once: measure, and run again what has ended. False where the dataset is finished."""
        code = self._driver.poll()
        if code is None:
            shards = self._count_shards()
            assert self._plain is not None
            with contextlib.suppress(psutil.Error):
                if shards == self._shards_before or not self.plain_told()["messages"]:
                    return True
                resident = [psutil.Process(pid).memory_info().rss for pid in (self._driver.pid, self._plain.pid)]
                self.sizes.append((self.elapsed_s, self._driver.pid, resident[0], shards, resident[1]))
            return True
        out = self._driver.communicate()[0]
        self.exits[code] += 1
        if code == 0:
            self.answer = json.loads(out)
            return False
        self._errors.seek(0)
        errors = self._errors.read()
        if code not in AGAIN and RAYS_END not in errors:
            raise SystemExit(f"exit {code} after {self.elapsed_s:.0f} s\n{errors[-5000:]}")
        self._start()
        return True

    def kill(self, kind: str) -> None:
        for victim in self._find(kind):
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                self.kills[kind] += 1
                if kind == "worker":
                    self._kill_plain_too()

    def _kill_plain_too(self) -> None:
        assert self._plain is not None and self._plain.stdin is not None
        if self._plain.poll() is not None:
            self._start_plain()  # Ray did not come up in time, as on a busy machine
        else:
            self._plain.stdin.write("kill\n")
            self._plain.stdin.flush()

    def kill_one(self) -> None:
        self.kill(self._rng.choice(VICTIMS))

    def _find(self, kind: str) -> list[int]:
        if kind == "driver":
            return [self._driver.pid]
        title = "ray::Embedding" if kind == "worker" else "raylet"
        try:
            found = [child.pid for child in psutil.Process(self._driver.pid).children(recursive=True) if child.name().startswith(title)]
        except psutil.Error:
            return []
        return [self._rng.choice(found)] if found else []

    def memory(self) -> dict[str, Any]:
        """Of the driver that lived longest: megabytes, and slopes in megabytes an hour with their 95 % intervals: its own, the plain driver's, and of the
        difference, which is fitted as such.

        Its last half minute is left out: the manifest is made then.
        """
        pid = Counter(driver for _, driver, *_ in self.sizes).most_common(1)[0][0]
        samples = np.array([(at_s, size, shards, plain) for at_s, driver, size, shards, plain in self.sizes if driver == pid], np.float64)
        samples = samples[(samples[:, 0] >= samples[0, 0] + WARM_S) & (samples[:, 0] <= samples[-1, 0] - BLOCK_S)]
        if len(np.unique(samples[:, 0] // BLOCK_S)) < 4:
            raise SystemExit(f"no driver lived for {WARM_S + 4 * BLOCK_S:.0f} s: let it run for longer")
        blocks = [samples[samples[:, 0] // BLOCK_S == block].mean(axis=0) for block in np.unique(samples[:, 0] // BLOCK_S)]
        hours, job, shards, plain = np.array(blocks).T / np.array([[3600.0], [1e6], [1.0], [1e6]])
        beyond = job - plain - shards * RECEIPT_BYTES / 1e6
        return {
            "lived_s": round(float(samples[-1, 0] - samples[0, 0] + WARM_S)), "first": round(float(job[0]), 2), "last": round(float(job[-1]), 2),
            "slope_megabytes_an_hour": slope_of(hours, job), "of_plain_ray": slope_of(hours, plain), "of_the_difference": slope_of(hours, job - plain),
            "of_which_receipts": round(float(np.polyfit(hours, shards, 1)[0]) * RECEIPT_BYTES / 1e6, 2), "unexplained": slope_of(hours, beyond),
            "plain": self.plain_told(), "job_in_blocks": [round(float(each), 1) for each in job], "plain_in_blocks": [round(float(each), 1) for each in plain],
        }  # fmt: skip


def slope_of(hours: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Of a line through them, and half its 95 % interval. hours, values: [N].

    What is left over of neighbours is alike, so there are fewer that say anything new than there are: the interval is widened by that (a first-order
    autoregression's).
    """
    slope, offset = np.polyfit(hours, values, 1)
    rest = values - slope * hours - offset
    error = math.sqrt(float(rest @ rest) / (len(hours) - 2) / float(((hours - hours.mean()) ** 2).sum()))
    alike = min(0.9, max(0.0, float(rest[1:] @ rest[:-1]) / max(float(rest @ rest), 1e-12)))
    return round(float(slope), 2), round(1.96 * error * math.sqrt((1 + alike) / (1 - alike)), 2)


def soak(job: Path, scratch: Path, *, minutes: float, kill_every_s: float, seed: int) -> Soak:
    running = Soak(job, scratch, seed)
    next_s = kill_every_s
    while running.go_on():
        time.sleep(1)
        if running.elapsed_s >= next_s and next_s <= 60 * minutes:
            if running.elapsed_s < 20 * minutes:
                running.kill_one()
            else:
                running.kill("worker")
            next_s += kill_every_s
            if round(next_s / kill_every_s) % 15 == 0:
                print(json.dumps({"at_s": round(running.elapsed_s), "kills": running.kills, "exits": running.exits, "load": os.getloadavg()[0]}), flush=True)
    return running


def left(scratch: Path, output: Path) -> Iterator[str]:
    """Files, processes and sockets that should not be there, ten seconds after the end."""
    end_s = time.monotonic() + 10
    while any(scratch.iterdir()) and time.monotonic() < end_s:
        time.sleep(0.2)
    yield from (f"file {path}" for path in scratch.rglob("*"))
    mark = str(scratch).encode()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if mark in Path(f"/proc/{process.pid}/environ").read_bytes() or mark in Path(f"/proc/{process.pid}/cmdline").read_bytes():
                yield f"process {process.pid} {process.cmdline()}"
    yield from (f"socket {line}" for line in Path("/proc/net/unix").read_text().splitlines() if str(scratch) in line)
    collect_in_two_days(str(output))  # what killed workers had begun is a day old by then
    yield from (f"file {name}" for name, _ in open_folder(str(output)).list("_embermill/tmp"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--kill-every", type=float, default=20)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", default="/tmp")
    parser.add_argument("--samples", type=Path, help="a file that the samples of memory are written to")
    args = parser.parse_args()
    rows = args.rows or round(60 * args.minutes * ROWS_A_SECOND)
    with tempfile.TemporaryDirectory(prefix="soak-", dir=args.folder) as place:
        folder = Path(place)
        (folder / "t").mkdir()
        running = soak(configure(folder, "out", rows), folder / "t", minutes=args.minutes, kill_every_s=args.kill_every, seed=args.seed)
        running.end_plain()
        if args.samples is not None:
            args.samples.write_text(json.dumps(running.sizes))
        found: dict[str, Any] = {"minutes": round(running.elapsed_s / 60, 1), "kills": running.kills, "exits": running.exits, "memory": running.memory()}
        found |= {"rows_in": running.answer["rows_in"], "rows_out": running.answer["rows_out"], "rows": rows, "shards": running.answer["shards"]}
        found["left"] = list(left(folder / "t", folder / "out"))
        found["verified"] = verify(open_folder(str(folder / "out"))).to_json()["ok"]
        with mock.patch("embermill.jobs.run.open_pool", open_inline_pool), mock.patch("time.sleep", lambda _: None):
            run(load_config(configure(folder, "undisturbed", rows)))
        found["differences"] = differences(open_folder(str(folder / "undisturbed")), open_folder(str(folder / "out")))
        print(json.dumps(found), flush=True)
        memory = found["memory"]
        flat = memory["unexplained"][0] <= memory["unexplained"][1]
        right = found["rows_in"] == found["rows_out"] == rows and found["verified"] and not found["left"] and not found["differences"] and flat
        return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
