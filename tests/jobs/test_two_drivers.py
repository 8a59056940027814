"""Two and three drivers on one empty output: one works, the others stop with exit 4, and the dataset is one driver's. tests/bench/two_drivers.py does more."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.plan import files
from embermill.jobs.storage import Folder
from tests.bench.two_drivers import command_round, driver_round, planner_round, rounds
from tests.jobs.command_line import Answer


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


def test_the_real_command(tmp_path: Path) -> None:
    command_round(tmp_path / "round", seed=3)
