"""1 of 4 workers is broken (NaN), stopped (SIGSTOP) or ten times slower: the job ends right, in at most 1.5 times the time of three good workers.

    python -m tests.bench.job_bad_worker [broken stopped slow]

Real commands on a private Ray, with an engine that sleeps (a job of about 60 s on three workers). Prints a line for each; exit 1 where one misses the bar.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from embermill.jobs.dataset.views.compare import differences
from embermill.jobs.storage import open_folder

ROOT = Path(__file__).parent.parent.parent
ROWS, BAR = int(os.environ.get("EMBERMILL_BENCH_ROWS", "36000")), 1.5


def run(folder: Path, name: str, workers: int, ill: str) -> tuple[float, str]:
    """(seconds of embedding, the dataset)."""
    job: dict[str, dict[str, Any]] = {
        "model": {"engine": "python:tests.bench.sleeping_engine:SleepingEngine"},
        "corpus": {"files": [str(folder / "corpus.parquet")], "partition_text_bytes": 6000},
        "output": {"uri": str(folder / name), "shard_bytes": 100_000},
        "workers": {"count": workers, "partition_stall_s": 5, "device": "cpu"},
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(job))
    environment = os.environ | {"EMBERMILL_BENCH_ILL": ill, "EMBERMILL_BENCH_MARK": str(folder / f"{name}.ill")}
    command = [sys.executable, "-m", "embermill", "run", str(folder / f"{name}.yaml"), "--json"]
    running = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if ill == "stopped":
        stop_one(running, folder / name)
    out, errors = running.communicate()
    if running.returncode:
        raise SystemExit(f"{name}: exit {running.returncode}\n{errors}")
    print("\n".join(line for line in errors.splitlines() if "retired" in line or "made no progress" in line)[:400])
    return float(json.loads(out)["seconds_embedding"]), str(folder / name)


def stop_one(running: subprocess.Popen[str], output: Path) -> None:
    """SIGSTOP one worker once the first commit stands."""
    while not list(output.glob("_embermill/commits/*")) and running.poll() is None:
        time.sleep(0.1)
    workers = [child for child in psutil.Process(running.pid).children(recursive=True) if "ray::Embedding" in child.name()]
    os.kill(workers[0].pid, signal.SIGSTOP)


def main(kinds: list[str]) -> int:
    missed = 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        texts = [f"document {row} {'x' * (row % 40)}" for row in range(ROWS)]
        pq.write_table(pa.table({"id": [f"r{row}" for row in range(ROWS)], "text": texts}), folder / "corpus.parquet", row_group_size=2000)
        good_s, good = run(folder, "three", 3, "")
        print(f"three good workers: {good_s:.1f} s")
        for kind in kinds:
            seconds, output = run(folder, kind, 4, kind)
            apart = differences(open_folder(good), open_folder(output))
            right = not apart and seconds <= BAR * good_s
            missed += not right
            print(f"one of four {kind}: {seconds:.1f} s, {seconds / good_s:.2f} times, {len(apart)} differences: {'right' if right else 'MISSED'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["broken", "stopped", "slow"]))
