"""Two and three drivers on one empty output: one works, the others stop with exit 4, and the dataset is one driver's. tests/bench/two_drivers.py does more."""

from __future__ import annotations

import random
from pathlib import Path

from tests.bench.two_drivers import command_round, driver_round, planner_round, rounds


def test_plans_are_never_mixed() -> None:
    seed = random.randrange(1 << 30)
    drivers = rounds(40, seed, planner_round)["drivers"]
    assert isinstance(drivers, dict) and drivers["took over"] > 0, f"seed {seed}"


def test_one_works_and_the_others_stop() -> None:
    seed = random.randrange(1 << 30)
    drivers = rounds(12, seed, driver_round)["drivers"]
    assert isinstance(drivers, dict) and drivers["exit 4"] > 0, f"seed {seed}"


def test_the_real_command(tmp_path: Path) -> None:
    command_round(tmp_path / "round", seed=3)
