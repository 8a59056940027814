"""The real command on a private Ray: driver, raylet or worker is killed at a named point, and the command is run again until it is done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from embermill.jobs.config import load_config
from embermill.jobs.dataset.views.compare import differences
from embermill.jobs.dataset.views.verify import verify
from embermill.jobs.pool.ray_words import DEATH
from embermill.jobs.run import run
from embermill.jobs.storage import open_folder
from tests.jobs.command_line import open_inline_pool
from tests.jobs.crashes.engine import LOADED
from tests.jobs.crashes.points import WORKER

ROOT = Path(__file__).parent.parent.parent.parent
ROWS = 400
PATIENCE_S = 300  # a Ray takes a minute to come up on a machine that is overloaded
VICTIMS = ("worker", "raylet", "driver")
AT_WORKER = (
    f"{LOADED} 1",
    *(f"{what} 1" for _, _, what in WORKER[1:]),
    *(f"{phase} publish {kind} 1" for kind in ("quarantine file", "shard") for phase in ("before", "linked", "after")),
    "before publish shard 3",
)  # fmt: skip
ALWAYS = tuple(point for point in AT_WORKER if "quarantine" not in point and not point.endswith("3"))  # whatever is left to do
LATER = ("a shard is begun 4", "before publish shard 4", "linked publish shard 4", "after publish shard 4", "a receipt is made and not sent 4")
AT_DRIVER = ("the first worker is ready 1", "after create plan root 1", "after create commit 1", "before create commit 2", "all is embedded 1")


class RayRounds:
    """On a disk. right: an undisturbed run's dataset."""

    def __init__(self, folder: Path, rows: int = ROWS) -> None:
        self._folder = folder
        lines = [json.dumps({"id": f"r{row}", "text": f"document {row} {'x' * (row % 30)}"}) for row in range(rows)]
        for row in range(7, rows, 100):
            lines[row] = "{"
        (folder / "corpus.jsonl").write_text("\n".join(lines))
        with mock.patch("embermill.jobs.run.open_pool", open_inline_pool):
            self.right = run(load_config(self._job("right"))).output
        self._round = 0

    def all(self, only: str = "") -> Iterator[tuple[str, str, list[str]]]:
        for victim in VICTIMS:
            for point in (*AT_WORKER, *AT_DRIVER):
                if only in f"{victim} at {point}":
                    yield victim, point, self.round(victim, point)

    def round(self, victim: str, point: str) -> list[str]:
        """What is wrong after that kill and, where it ended the run, another one."""
        return self.chain([[(victim, point)]])

    def chain(self, runs: Sequence[Sequence[tuple[str, str]]]) -> list[str]:
        """The same after several runs, each with its (victim, point)s; what ends it comes last."""
        self._round += 1
        name = f"killed-{self._round}"
        job = self._job(name)
        wrong = [problem for number, kills in enumerate(runs) for problem in self._kill(job, number, kills)]
        return [*wrong, *self._finish(job), *self._judge(str(self._folder / name))]

    def _kill(self, job: Path, number: int, kills: Sequence[tuple[str, str]]) -> Iterator[str]:
        onces = [job.with_suffix(f".{number}.{victim}") for victim, _ in kills]
        victims = ["self" if point in AT_DRIVER and victim == "driver" else victim for victim, point in kills]
        crash = {"AT": [point for _, point in kills], "VICTIM": victims, "ONCE": map(str, onces)}
        code, errors = self._run(job, {f"EMBERMILL_CRASH_{key}": "|".join(values) for key, values in crash.items()})
        yield from (f"nothing came to {point}: exit {code}: {errors[-1500:]}" for (_, point), once in zip(kills, onces, strict=True) if not once.exists())
        if DEATH in errors:
            yield f"Ray's own account of a death is on stderr: {errors[-1500:]}"
        if code not in ((-signal.SIGKILL,) if kills[-1][0] == "driver" else (0, 33)):
            yield f"exit {code} after {kills}: {errors[-1500:]}"

    def _finish(self, job: Path) -> Iterator[str]:
        code, errors = self._run(job, {})
        if code:
            yield f"run again: exit {code}: {errors[-1500:]}"

    def _judge(self, output: str) -> Iterator[str]:
        yield from differences(open_folder(self.right), open_folder(output))
        if not verify(open_folder(output)).to_json()["ok"]:
            yield "it does not verify"

    def _run(self, job: Path, environment: dict[str, str]) -> tuple[int, str]:
        command = [sys.executable, "-m", "embermill", "run", str(job), "--json"]
        done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=PATIENCE_S)
        return done.returncode, done.stderr

    def _job(self, name: str) -> Path:
        settings: dict[str, dict[str, Any]] = {
            "model": {"engine": "python:tests.jobs.crashes.engine:CrashingEngine"},
            "corpus": {"files": [str(self._folder / "corpus.jsonl")], "partition_text_bytes": 2000, "max_quarantined": 0.5},
            "output": {"uri": str(self._folder / name), "shard_bytes": 2000},
            "workers": {"count": 2},
        }
        path = self._folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(settings))
        return path
