"""SIGKILL of real processes: the driver, then a worker, then Ray's raylet, each at a named point of a worker's work; then the same command again.

The dataset that is left must equal an undisturbed run's. `python -m tests.bench.crash_points --ray` kills each of them at each point.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.jobs.crashes.ray_rounds import ALWAYS, LATER, RayRounds

ROWS = 2400  # 4 ms a row: ten seconds of work for one worker, so that something is left for each


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_killed_and_run_again_equals_undisturbed(tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    runs = [[("driver", rng.choice(ALWAYS))], [("worker", rng.choice(ALWAYS)), ("raylet", rng.choice(LATER))]]
    assert RayRounds(tmp_path, ROWS).chain(runs) == [], f"seed {seed}: {runs}"
