"""Exports killed with SIGKILL again and again, compared with undisturbed ones.

    python -m tests.bench.export_kills DATASET [--formats npy,lance] [--kills 5]

For each format: one undisturbed export, timed; then exports of the same that are killed after a random part of that time, KILLS of them, and one that ends.
Files must be equal byte by byte, but for tables, whose libraries name their files at random: there the rows are compared.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from embermill.jobs.export import FORMATS

PROGRAM = """
import sys
from embermill.jobs.cli import entry
from embermill.jobs.export.formats import files, matrix, tables
files.LINES_BYTES = files.PARQUET_BYTES = int(sys.argv.pop())
files.ROW_GROUP_BYTES = files.PARQUET_BYTES // 4
matrix.PIECE_ROWS = tables.PIECE_ROWS = int(sys.argv.pop())
entry()
"""
TABLES = ("lance", "delta", "iceberg")


def command(dataset: str, name: str, out: Path) -> list[str]:
    """With pieces so small that even the demo has several."""
    return [sys.executable, "-c", PROGRAM, "export", dataset, "--format", name, "--out", str(out), "--json", "500", str(2 << 20)]


def digest(name: str, out: Path) -> str:
    found = hashlib.sha256()
    if name in TABLES:
        rows = importlib.import_module("tests.jobs.export.test_tables").read_table(name, out.absolute())
        found.update(repr(rows).encode())
        return f"{len(rows)} rows {found.hexdigest()[:16]}"
    files = sorted(path for path in out.rglob("*") if path.is_file())
    for path in files:
        found.update(path.relative_to(out).as_posix().encode() + hashlib.sha256(path.read_bytes()).digest())
    return f"{len(files)} files {found.hexdigest()[:16]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--kills", type=int, default=5)
    arguments = parser.parse_args()
    chance, wrong = random.Random(0), 0
    for name in arguments.formats.split(","):
        folder = Path(tempfile.mkdtemp(prefix="export-"))
        begun = time.perf_counter()
        answer = json.loads(subprocess.run(command(arguments.dataset, name, folder / "whole"), check=True, capture_output=True, text=True).stdout)
        seconds, killed = time.perf_counter() - begun, 0
        for _ in range(arguments.kills):
            with subprocess.Popen(command(arguments.dataset, name, folder / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                time.sleep(seconds * chance.uniform(0.3, 1))
                process.send_signal(signal.SIGKILL)
                killed += process.wait() == -signal.SIGKILL
        last = json.loads(subprocess.run(command(arguments.dataset, name, folder / "killed"), check=True, capture_output=True, text=True).stdout)
        same = digest(name, folder / "whole") == digest(name, folder / "killed")
        wrong += not same
        size = sum(path.stat().st_size for path in (folder / "whole").rglob("*") if path.is_file())
        told = f"{answer['rows']:,} rows, {size / 1e6:.1f} MB in {seconds:.1f} s; killed {killed} times, {last['resumed_rows']:,} rows there at the last call"
        print(f"{name:<15} {told}: {'equal' if same else 'DIFFERENT'} ({digest(name, folder / 'whole')})", flush=True)
        shutil.rmtree(folder)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
