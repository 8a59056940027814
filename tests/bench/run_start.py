"""The start of `embermill run --verbose`, step by step, of several trees in turns, on this machine as it is.

    python -m tests.bench.run_start --model MODEL [--tree FOLDER …] [--turns 3] [--rows 200] [--set KEY=VALUE …] [--partition-text-bytes 4096]

MODEL: as model.source. A tree: a folder with the package `embermill` in it; this one unless given. Each run is a process of its own that begins the same
small dataset anew; from the start of the process to the first commit is measured from outside, beside the table that it prints. One JSON line a run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent.parent.parent


def run_once(tree: Path, folder: Path, job: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    (folder / "job.yaml").write_text(yaml.safe_dump(job | {"output": {"uri": str(Path(tempfile.mkdtemp(prefix="out", dir=folder)) / "out")}}))
    sets = [word for override in overrides for word in ("--set", override)]
    command = [sys.executable, "-m", "embermill", "run", str(folder / "job.yaml"), "--verbose", *sets]
    begin_s, environment = time.monotonic(), os.environ | {"PYTHONPATH": str(tree)}
    first, table, said = 0.0, list[str](), list[str]()
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if line.startswith("  ") and " s  " in line:
                table.append(line.strip())
                first = first or ("first commit" in line and time.monotonic() - begin_s) or 0.0
    if process.returncode:
        raise SystemExit(f"exit {process.returncode}:\n{''.join(said)}")
    load = os.getloadavg()[0]
    whole = round(time.monotonic() - begin_s, 2)
    return {"tree": str(tree), "first_commit_s": round(first, 2), "whole_s": whole, "load": round(load, 1), "cores": os.cpu_count(), "steps": table}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--tree", type=Path, action="append")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--partition-text-bytes", type=int, default=4096)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="s") as name:
        folder = Path(name)
        rows = ({"id": row, "text": f"row {row} tells how to unpack archive number {row * 7}"} for row in range(arguments.rows))
        (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        corpus = {"files": [str(folder / "corpus.jsonl")], "partition_text_bytes": arguments.partition_text_bytes}
        job = {"model": {"source": arguments.model}, "corpus": corpus, "workers": {"count": 1}}
        for _ in range(arguments.turns):
            for tree in arguments.tree or [HERE]:
                print(json.dumps(run_once(tree.resolve(), folder, job, arguments.overrides)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
