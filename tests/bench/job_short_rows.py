"""Two million texts of 20 bytes through a stub engine of 8 dimensions and one worker: what the job itself can carry.

    python -m tests.bench.job_short_rows [--rows 2000000]
Prints rows per second from the first document read to the last commit, and over the whole command.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from tests.bench import job_corpora, job_process

ENGINE = "python:tests.bench.stub_engine:StubEngine"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        corpus = job_corpora.short_rows(Path(folder) / "corpus", args.rows)
        settings: dict[str, dict[str, object]] = {
            "model": {"engine": ENGINE},
            "corpus": {"files": [f"{corpus}/*.parquet"]},
            "output": {"uri": f"{folder}/out"},
            "workers": {"count": 1},
        }
        outcome = job_process.run_job(job_process.write_config(Path(folder) / "short.yaml", settings))
        answer = outcome.answer or {}
        rate = round(answer["rows_out"] / answer["seconds_embedding"])
        peaks = {name: value >> 20 for name, value in outcome.peak_rss.items()}
        seconds = round(outcome.seconds, 1)
        print(json.dumps({"rows": answer["rows_out"], "rows_per_s": rate, "command_s": seconds, "bound": answer["bound"], "peak_rss_mb": peaks}))


if __name__ == "__main__":
    main()
