"""`embermill run` on a GPU of which another process holds all but so many bytes: the vectors of a free GPU, or exit 2 with the bytes needed and free.

    python -m tests.bench.gpu_memory_job [--free 1.2] [--models minilm-l6,bert-large] [--rows 20000]

One JSON object a row; exit 1 where vectors differ, where the job on a free GPU does not end with 0, or where the other one ends with anything but 0, or 2
with the bytes needed and the bytes free: more than are free, and no more free than the other process left.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from embermill.encoder.measure.random_model import SHAPES, write_random_model

GB = 1 << 30
OUT_OF_MEMORY = re.compile(r"out of GPU memory: .* needs (?:about ([\d,]+) bytes, and|more bytes than the) ([\d,]+)(?: that)? are free")
SLACK = 64 << 20  # the other process lets go of so much at a time, and the driver counts in pages
TOKENIZER = Path(__file__).parents[1] / "golden" / "tokenizers" / "bert"


def write_corpus(folder: Path, rows: int) -> None:
    """Four files of documents of 1 to 400 words."""
    random = np.random.default_rng(7)
    words = np.array(["the", "model", "reads", "rows", "and", "writes", "vectors", "while", "memory", "is", "short"])
    for number in range(4):
        texts = [" ".join(random.choice(words, random.integers(1, 400))) for _ in range(rows // 4)]
        pq.write_table(pa.table({"id": [f"{number}-{i}" for i in range(len(texts))], "text": texts}), folder / f"{number}.parquet")


def write_model(name: str, folder: Path) -> None:
    write_random_model(SHAPES[name], folder)
    for file in TOKENIZER.iterdir():
        if "token" in file.name or file.name == "vocab.txt":
            shutil.copy(file, folder)


def run_job(corpus: Path, model: Path, output: Path) -> tuple[int, str]:
    """Exit code, and stderr."""
    settings: dict[str, dict[str, object]] = {
        "model": {"source": str(model), "precision": "float16"},
        "corpus": {"files": [str(corpus / "*.parquet")]},
        "output": {"uri": str(output)},
        "workers": {"device": "gpu", "count": 1},
    }
    config = output.with_suffix(".yaml")
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "embermill", "run", str(config), "--json"], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def differences_of(expected: Path, found: Path) -> list[str]:
    from embermill.jobs.dataset.views.compare import differences
    from embermill.jobs.storage import open_folder

    return [str(difference) for difference in differences(open_folder(str(expected)), open_folder(str(found)))]


def bytes_told(words: str) -> tuple[int | None, int] | None:
    """(needed, None where nothing was measured yet; free), as an error says them; None where it does not."""
    if (match := OUT_OF_MEMORY.search(words)) is None:
        return None
    needed, free = (None if number is None else int(number.replace(",", "")) for number in match.groups())
    assert free is not None
    return needed, free


def is_right(row: dict[str, Any]) -> bool:
    if row["free_gb"] is None:
        return bool(row["exit"] == 0)
    if row["exit"] == 0:
        return not row["differences"]
    if row["exit"] != 2 or (told := bytes_told(row["stderr"])) is None:
        return False
    needed, free = told
    return (needed is None or needed > free) and free <= row["free_bytes"] + SLACK


def rows_of(name: str, free_gb: list[float], corpus: Path, folder: Path) -> list[dict[str, Any]]:
    from tests.bench.gpu_memory import memory_held

    model, free_output = folder / name, folder / f"{name}-free"
    write_model(name, model)
    code, words = run_job(corpus, model, free_output)
    rows: list[dict[str, Any]] = [dict(model=name, free_gb=None, exit=code, stderr=words[-2000:] if code else "")]
    for free in free_gb:
        output = folder / f"{name}-{free}"
        with contextlib.ExitStack() as stack:
            left = stack.enter_context(memory_held(free * GB))
            code, words = run_job(corpus, model, output)
        found = differences_of(free_output, output)[:3] if code == 0 else []
        rows.append(dict(model=name, free_gb=free, free_bytes=left, exit=code, differences=found, stderr=words[-2000:] if code else ""))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--free", default="1.2", help="GB")
    parser.add_argument("--models", default="minilm-l6,bert-large")
    parser.add_argument("--rows", type=int, default=20_000)
    arguments = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        corpus = folder / "corpus"
        corpus.mkdir()
        write_corpus(corpus, arguments.rows)
        for name in arguments.models.split(","):
            for row in rows_of(name, [float(free) for free in arguments.free.split(",")], corpus, folder):
                bad += not is_right(row)
                print(json.dumps(row), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
