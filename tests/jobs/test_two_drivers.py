"""Two and three drivers on one empty output: one works, the others stop with exit 4, and the dataset is one driver's. tests/bench/two_drivers.py does more."""

from __future__ import annotations

import random
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from embermill.jobs.plan import files
from embermill.jobs.storage import Folder
from tests.bench.two_drivers import ROOT, command_round, driver_round, planner_round, rounds
from tests.jobs.command_line import Answer
from tests.jobs.crashes.server import serve_commands


def test_plans_are_never_mixed() -> None:
    seed = random.randrange(1 << 30)
    drivers = rounds(40, seed, planner_round)["drivers"]
    assert isinstance(drivers, dict) and drivers["took over"] > 0, f"seed {seed}"


def test_one_works_and_the_others_stop() -> None:
    seed = random.randrange(1 << 30)
    drivers = rounds(12, seed, driver_round)["drivers"]
    assert isinstance(drivers, dict) and drivers["exit 4"] > 0, f"seed {seed}"


def test_who_takes_over_anothers_plan_says_what_it_saw_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embed: Callable[..., Answer], caplog: pytest.LogCaptureFixture
) -> None:
    """The other driver's root.json is created while ours is on its way: it saw a file that we do not, and another state of ours."""
    (tmp_path / "corpus").mkdir()
    pq.write_table(pa.table({"id": ["a"], "text": ["one"]}), tmp_path / "corpus/a.parquet")
    write = files.write_plan

    def slower(folder: Folder, plan: files.Plan) -> None:
        theirs = (*({**entry, "version": "1"} for entry in plan.listing), {**plan.listing[0], "path": "/corpus/late.parquet"})
        write(folder, replace(plan, listing=theirs))
        write(folder, plan)

    monkeypatch.setattr("embermill.jobs.run.write_plan", slower)
    answer = embed()
    told = [record.getMessage() for record in caplog.records if "planned this dataset at the same time" in record.getMessage()]
    assert len(told) == 2 and "are in its plan and not seen by this run: /corpus/late.parquet" in told[0] and "had another size or version for it" in told[1]
    assert answer.code == 0, answer.errors


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="a holder that lives is told by /proc")
def test_every_command_that_writes_exits_4_beside_a_run_and_the_shell_sees_it(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("".join(f"text {row}\n" for row in range(3000)))
    settings: dict[str, dict[str, Any]] = {
        "model": {"engine": "python:tests.jobs.engines:SlowEngine"},
        "corpus": {"files": [str(tmp_path / "corpus.txt")], "partition_text_bytes": 400},
        "output": {"uri": str(tmp_path / "out")},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(settings))
    run = [sys.executable, "-m", "tests.jobs.storage_trouble", str(tmp_path / "job.yaml")]
    with serve_commands(tmp_path) as commands:
        running = subprocess.Popen(run, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            while not list(tmp_path.glob("out/_embermill/commits/*")):
                assert running.poll() is None, running.communicate()[1]
                time.sleep(0.05)
            for name in ("redrive", "repair", "gc"):
                assert commands(name, str(tmp_path / "out")) == 4, commands.words.read_text()
                assert f"another run has this dataset: `embermill run`, process {running.pid} on " in commands.words.read_text()
            assert commands("status", str(tmp_path / "out")) == 0
            shell = subprocess.run(f"{shlex.join(run)}; echo exit $?", shell=True, cwd=ROOT, capture_output=True, text=True)
            assert shell.stdout.endswith("exit 4\n") and '"exit_code": 4' in shell.stdout, shell.stdout + shell.stderr
            assert running.poll() is None
        finally:
            running.kill()
            running.communicate()
        assert commands("gc", str(tmp_path / "out")) == 0, "a holder that is gone from this machine frees the lease at once"


def test_the_real_command(tmp_path: Path) -> None:
    command_round(tmp_path / "round", seed=3)
