"""Ten million rows in small: one bucket of as many rows as one ever has, and a sync whose driver and workers are processes of their own. In full by hand:
tests/bench/sync_difference.py, tests/bench/sync_scale.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from embermill.jobs.dataset.metadata.keys import ROWS_PER_BUCKET
from tests.bench import sync_difference

ROOT = Path(__file__).parent.parent.parent.parent
CORE_SECONDS_A_MILLION = 3.0  # 15 s on two cores for ten million
WORKER_MB, DRIVER_MB = 700, 300


def test_the_difference_of_a_whole_bucket() -> None:
    told = sync_difference.measure(ROWS_PER_BUCKET, 1)
    assert told["buckets"] == 1 and told["core_seconds"] <= CORE_SECONDS_A_MILLION * ROWS_PER_BUCKET / 1_000_000
    assert told["peak_mb"] <= WORKER_MB, told


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read there")
def test_driver_and_workers_apart(tmp_path: Path) -> None:
    """Too few rows for the memory to grow with them: that it is measured, and what the rest holds."""
    command = [sys.executable, "-m", "tests.bench.sync_scale", "--rows=40000", "--files=4", "--processes=2", "--inline-rows=1000", f"--folder={tmp_path}"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout.splitlines()[-1])
    assert told["step"] == "sync" and {"_scan", "_differ", "_write", "_commit"} <= told.keys()
    assert 50 < told["driver_mb"] <= DRIVER_MB and 50 < told["worker_mb"] <= WORKER_MB, told
