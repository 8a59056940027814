"""A private Ray is begun beside the look at corpus and model: where the job is refused, or interrupted, at whatever moment, nothing of it is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from embermill.jobs.pool.ray_home import PREFIX
from embermill.jobs.pool.reaper import MARK

ROOT = Path(__file__).parent.parent.parent.parent
DEADLINE_S = 60.0
ENGINE = """
import os, time
from pathlib import Path
import numpy as np
from embermill.jobs.engine import Embedded, Output, Preview

HERE = Path(__file__).parent

def stay(where):
    if os.environ["STAY"] == where:
        (HERE / "there").touch()
        time.sleep(600)

class Engine:
    def __init__(self, model, *, device, threads):
        stay("worker")

    def fingerprint(self):
        return {"model.engine": "mine"}

    def outputs(self):
        return (Output("embedding", "dense", "float32", 2),)

    @classmethod
    def preview(cls, model, device):
        stay("look")
        return Preview()

    def embed(self, texts):
        for batch in texts:
            ones = np.ones(len(batch), np.int32)
            yield Embedded({"embedding": np.ones((len(batch), 2), np.float32)}, ones, 0 * ones)
"""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder for temporary files, of this test alone, whose name leaves room for a socket's."""
    folder = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def start(tmp_path: Path, short: Path) -> Iterator[Start]:
    """start(stay="look", model={…}): `embermill run` of a job whose engine stays where it is told to."""
    running: list[subprocess.Popen[str]] = []
    (tmp_path / "mine.py").write_text(ENGINE)
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"id": "a", "text": "one"}) + "\n")

    def begin(stay: str = "", **sections: dict[str, Any]) -> subprocess.Popen[str]:
        job = {"model": {"engine": "python:mine:Engine"}, "corpus": {"files": ["corpus.jsonl"]}, "output": {"uri": "out"}, "workers": {"count": 1}} | sections
        (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
        environment = os.environ | {"PYTHONPATH": str(ROOT), "STAY": stay, "TMPDIR": str(short)}
        command = [sys.executable, "-m", "embermill", "run", "job.yaml"]
        running.append(subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def wait_for(what: Callable[[], object], process: subprocess.Popen[str]) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not what():
        assert process.poll() is None and time.monotonic() < end_s, process.communicate()[1]
        time.sleep(0.02)


def homes(short: Path) -> list[Path]:
    return [*short.glob(f"{PREFIX}*")]


def left(short: Path) -> list[list[str]]:
    """Command lines of processes that belong to a Ray in that folder, and what is still in it."""
    found = [[str(path)] for path in homes(short)]
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK, "").startswith(str(short)):
                found.append(process.cmdline())
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize(
    ("sections", "code", "words"),
    [
        ({"model": {"source": "package:nothing_of_that_name/model"}}, 2, "nothing_of_that_name"),
        ({"model": {"engine": "python:mine:Nothing"}}, 2, "has no Nothing"),
        ({"corpus": {"files": ["corpus.jsonl"], "text_columns": ["body"]}}, 2, "no file has a column 'body'"),
    ],
)
def test_what_is_refused_leaves_nothing_and_is_said_once(start: Start, short: Path, sections: dict[str, Any], code: int, words: str) -> None:
    process = start(**sections)
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == code and said.count("embermill: ") == 1 and words in said.splitlines()[-1], said
    assert "starting" not in said and "Traceback" not in said and left(short) == []


def test_an_empty_corpus_starts_no_ray(start: Start, short: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text("")
    process = start(stay="look")
    wait_for((tmp_path / "there").exists, process)
    assert homes(short) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["Ray starts", "look", "worker"])
def test_an_interruption_ends_everything(start: Start, short: Path, tmp_path: Path, moment: str, number: int) -> None:
    process = start(stay=moment if moment != "Ray starts" else "look")
    wait_for(lambda: homes(short) if moment == "Ray starts" else (tmp_path / "there").exists(), process)
    if moment == "worker":
        wait_for((tmp_path / "out/_embermill/lease").exists, process)
    process.send_signal(number)
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 33 and said.count("embermill: interrupted") == 1 and "Traceback" not in said, said
    assert left(short) == []
