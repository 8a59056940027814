"""SIGKILL of real processes at random moments: the driver, then Ray's raylet, then a worker; each time the job is run again at once.

The dataset that is left must equal an undisturbed run's, and only what was missing may be done again. The seed is printed with a failure.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from embermill.jobs.config import load_config
from embermill.jobs.dataset.views.compare import differences
from embermill.jobs.run import run
from embermill.jobs.storage import open_folder
from tests.jobs.command_line import open_inline_pool

ROOT = Path(__file__).parent.parent.parent
ROWS = 1600  # in some 40 partitions, 4 ms a row: four seconds of work for one worker after another
PATIENCE_S = 90


def write_job(folder: Path, name: str) -> Path:
    path = folder / f"{name}.yaml"
    settings: dict[str, dict[str, Any]] = {
        "model": {"engine": "python:tests.jobs.engines:SlowEngine"},
        "corpus": {"files": [str(folder / "corpus.parquet")], "partition_text_bytes": 1000},
        "output": {"uri": str(folder / name), "shard_bytes": 2000},
        "workers": {"count": 2},
    }
    path.write_text(yaml.safe_dump(settings))
    return path


def start(job: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "embermill", "run", str(job), "--json"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_more_commits(process: subprocess.Popen[str], output: Path, than: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while commits(output) <= than:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "nothing was committed"
        time.sleep(0.02)


def commits(output: Path) -> int:
    return len(list((output / "_embermill/commits").glob("*.pq")))


def descendants(pid: int) -> dict[int, str]:
    """pid -> command line of every process below that one."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
    found, front = {}, {pid}
    while front:
        front = {child for child, parent in parents.items() if parent in front}
        for child in front:
            try:
                found[child] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
    return found


def kill(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_killed_and_run_again_equals_undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    rng = random.Random(seed)
    texts = [f"document {row} " + "x" * rng.randint(0, 30) for row in range(ROWS)]
    pq.write_table(pa.table({"id": [f"r{row}" for row in range(ROWS)], "text": texts}), tmp_path / "corpus.parquet", row_group_size=100)
    with monkeypatch.context() as patched:
        patched.setattr("embermill.jobs.run.open_pool", open_inline_pool)
        undisturbed = run(load_config(write_job(tmp_path, "undisturbed")))
    job, output = write_job(tmp_path, "disturbed"), tmp_path / "disturbed"

    driver = start(job)
    wait_for_more_commits(driver, output, than=0)
    time.sleep(rng.uniform(0, 0.5))
    orphans = descendants(driver.pid)
    kill([driver.pid])  # its workers go on for a moment, and may publish while the next run looks
    driver.communicate()

    second, before = start(job), commits(output)
    wait_for_more_commits(second, output, than=before)
    time.sleep(rng.uniform(0, 0.3))
    kill([pid for pid, command in descendants(second.pid).items() if "raylet/raylet" in command.split(" ")[0]][:1])
    out, errors = second.communicate(timeout=PATIENCE_S)
    assert second.returncode in (0, 33), f"a lost raylet is transient: run again\n{errors}"

    third, before = start(job), commits(output)
    if second.returncode == 33:
        wait_for_more_commits(third, output, than=before)
    kill([pid for pid, command in descendants(third.pid).items() if command.startswith("ray::EmbeddingWorker")][:1])
    out, errors = third.communicate(timeout=PATIENCE_S)
    assert third.returncode == 0, errors

    answer = json.loads(out)
    assert answer["committed_before"] > 0 and answer["rows_embedded"] < ROWS and answer["rows_in"] == ROWS
    assert differences(open_folder(undisturbed.output), open_folder(str(output))) == []
    left = [command for pid, command in orphans.items() if Path(f"/proc/{pid}").exists() and "EmbeddingWorker" in command]
    assert not left, "the workers of a killed driver end by themselves (two small agents of Ray take a minute)"
