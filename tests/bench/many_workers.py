"""What the driver costs: many workers on one Ray that sleep, so many that two partitions a second are done in all, and the driver's CPU time meanwhile.

    python -m tests.bench.many_workers [--workers 64] [--rate 2] [--seconds 60]

Prints a JSON line; exit 1 where the driver took more than 3 % of a core. Each worker is a process of about 110 MB that takes two or three seconds of a core to
start: they start a few at a time, and Ray is told to be patient with them, so that a machine of two cores holds 64.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from embermill.jobs.engine import Embedded, Output
from tests.jobs.engines import embed_texts

ROOT = Path(__file__).parent.parent.parent
MOST_SHARE = 0.03  # of one core
ROWS = 32  # of a partition
PATIENCE_S = 900.0
STARTING = {"RAY_worker_maximum_startup_concurrency": "4", "RAY_worker_register_timeout_seconds": "600"}  # of nothing that is measured
TICKS = os.sysconf("SC_CLK_TCK")


class SleepyEngine:
    """As long for each row as model.source says, in seconds."""

    def __init__(self, model: Any, *, device: str, threads: int) -> None:
        self._seconds_a_row = float(str(model.source).rpartition("/")[2])

    def fingerprint(self) -> dict[str, str]:
        return {"model.engine": "sleepy"}

    def outputs(self) -> tuple[Output, ...]:
        return (Output("embedding", "dense", "float32", 4),)

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        for batch in texts:
            time.sleep(self._seconds_a_row * len(batch))
            yield embed_texts(batch)


def cpu_s(pid: int) -> float:
    """User and system time of a process and its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measured(metrics: Path) -> dict[str, float]:
    """workers: that are ready. done: partitions."""
    try:
        text = metrics.read_text()
    except OSError:
        return {"workers": 0, "done": 0}
    found = {name: re.search(pattern, text) for name, pattern in (("workers", r"embermill_workers\{.*\} (\S+)"), ("done", r'state="done"\} (\S+)'))}
    return {name: float(match[1]) if match else 0.0 for name, match in found.items()}


def bench(folder: Path, workers: int, rate: float, seconds: float) -> dict[str, Any]:
    partitions = int(rate * PATIENCE_S)
    text = "x" * 60
    (folder / "corpus.jsonl").write_text("\n".join(json.dumps({"id": str(row), "text": text}) for row in range(partitions * ROWS)))
    job: dict[str, Any] = {
        "model": {"engine": "python:tests.bench.many_workers:SleepyEngine", "source": f"/seconds/{workers / rate / ROWS}"},
        "corpus": {"files": [str(folder / "corpus.jsonl")], "partition_text_bytes": 60 * ROWS},
        "output": {"uri": str(folder / "out")},
        "workers": {"count": workers, "device": "cpu", "start_timeout_s": PATIENCE_S},
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    metrics = folder / "a.prom"
    command = [sys.executable, "-m", "embermill", "run", str(folder / "job.yaml"), "--metrics", str(metrics), "--json"]
    with (folder / "log").open("w") as log:
        driver = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=os.environ | STARTING)
    try:
        until_s = time.monotonic() + PATIENCE_S
        while measured(metrics)["workers"] < workers:
            if driver.poll() is not None or time.monotonic() > until_s:
                raise SystemExit(f"{measured(metrics)['workers']:.0f} workers are ready: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(1)
        time.sleep(10)
        before, begin_s, begin_cpu_s = measured(metrics), time.monotonic(), cpu_s(driver.pid)
        time.sleep(seconds)
        took_s, used_s, after = time.monotonic() - begin_s, cpu_s(driver.pid) - begin_cpu_s, measured(metrics)
    finally:
        driver.send_signal(signal.SIGTERM)
        driver.wait(60)
    return {
        "workers": workers, "seconds": round(took_s, 1), "partitions_a_second": round((after["done"] - before["done"]) / took_s, 2),
        "driver_cpu_s": round(used_s, 2), "driver_share_of_a_core": round(used_s / took_s, 4), "workers_at_the_end": after["workers"],
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        found = bench(Path(place), args.workers, args.rate, args.seconds)
    print(json.dumps(found))
    return 0 if found["driver_share_of_a_core"] <= MOST_SHARE else 1


if __name__ == "__main__":
    sys.exit(main())
