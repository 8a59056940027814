"""Runs a command of `embermill` inside this process, on an inline pool, and keeps what a person would see."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from embermill.jobs import cli
from embermill.jobs.config import JobConfig
from embermill.jobs.plan.files import Plan
from embermill.jobs.pool.inline import InlinePool
from embermill.jobs.pool.opening import OpenPool, worker_job
from embermill.jobs.pool.placement import Node, place
from embermill.jobs.storage import Folder
from embermill.jobs.worker.worker import Making, Worker


@dataclass(frozen=True)
class Answer:
    """Exit code, stdout, stderr and (after `run`) the dataset's folder."""

    code: int
    stdout: str
    errors: str
    output: Path = Path()

    def __getitem__(self, key: str) -> Any:
        return json.loads(self.stdout)[key]


@contextlib.contextmanager
def open_inline_pool(config: JobConfig, folder: Folder, plan: Plan | None, making: Making | None = None) -> Iterator[OpenPool]:
    """In place of embermill.jobs.pool.opening.open_pool: one worker of this process, no Ray."""
    placement = place(config.workers, [Node(cpus=1, gpus=0)], joined=False, planned_device=plan.device_kind if plan else None)
    job = worker_job(config, placement, plan, making=making)
    yield OpenPool(InlinePool(lambda: Worker(job)), placement)


def command(*arguments: str, output: Path = Path()) -> Answer:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main([*arguments, "--json"])
    return Answer(code, out.getvalue(), err.getvalue(), output)


def run(folder: Path, *, engine: str | None = "WordEngine", output: str = "out", name: str = "run", **sections: dict[str, Any]) -> Answer:
    """`embermill run` (or `name`) over folder/corpus/*.parquet unless a section says otherwise; `output_section` adds to output."""
    settings: dict[str, dict[str, Any]] = {
        "model": {"engine": f"python:tests.jobs.word_engines:{engine}"} if engine else {},
        "corpus": {"files": [str(folder / "corpus/*.parquet")]},
        "output": {"uri": str(folder / output)},
        "workers": {"count": 1},
    }
    for section, values in sections.items():
        settings.setdefault({"output_section": "output"}.get(section, section), {}).update(values)
    config = folder / f"{output}.yaml"
    config.write_text(yaml.safe_dump(settings))
    return command(name, str(config), output=folder / output)


def make_dataset(folder: Path) -> Path:
    """A small finished dataset with a refused row, of a corpus beside it, made in this process."""
    (folder / "corpus").mkdir(parents=True)
    lines = [json.dumps({"id": str(row), "text": f"text {row}"}) for row in range(20)]
    (folder / "corpus/a.jsonl").write_text("\n".join([*lines, "{"]) + "\n")
    with mock.patch("embermill.jobs.run.open_pool", open_inline_pool):
        answer = run(folder, corpus={"files": [str(folder / "corpus/a.jsonl")], "partition_text_bytes": 200})
    assert answer.code == 0, answer.errors
    return answer.output
