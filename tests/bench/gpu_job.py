"""The whole job on one GPU or several: `embermill run` through Ray on the corpus of tests/bench/corpus.py, beside the bound that it should come near.

    python -m tests.bench.gpu_job --model base --tokenizer MODEL_FOLDER                 # >= 0.85 of the forward pass's own tokens/s on those lengths
    python -m tests.bench.gpu_job --model minilm --tokenizer MODEL_FOLDER               # >= 0.85 of what `tokenizers` alone does with these rows
    python -m tests.bench.gpu_job --model base --tokenizer MODEL_FOLDER --workers 1,auto   # several GPUs: ratio, UUIDs, equality of the datasets
A minute of embedding on two GPUs takes 17,000,000 rows of MiniLM (--rows 17000000 --files 128, 30 GB of vectors a run) and 3,750,000 of BERT-base
(--use 'part-[012]?.parquet' of the same corpus), --partition-text-bytes 8388608, --folder on a disk or memory that takes them.
Prints one JSON line for each run and one with the bound. A machine without Ray gets it as ../shared/bench/pack_ray.sh packs it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import yaml

from embermill.encoder.measure.random_model import SHAPES, write_random_model
from tests.bench.corpus import lengths_of, write_corpus

NAMES = {"minilm": "minilm-l6", "base": "bert-base", "large": "bert-large"}
TOKENIZER_BATCHES = (256, 1024, 4096)


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def run_job(folder: Path, model: Path, files: str, workers: str, partition_text_bytes: int | None) -> dict[str, object]:
    """`embermill run`: its own summary."""
    output = folder / f"out-{workers}"
    shutil.rmtree(output, ignore_errors=True)
    settings: dict[str, dict[str, object]] = {
        "model": {"source": str(model), "precision": "float16"},
        "corpus": {"files": [str(folder / "corpus" / files)]} | ({"partition_text_bytes": partition_text_bytes} if partition_text_bytes else {}),
        "output": {"uri": str(output)},
        "workers": {"device": "gpu", "count": workers if workers == "auto" else int(workers)},
    }
    config = folder / f"job-{workers}.yaml"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "embermill", "run", str(config), "--json"], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"embermill run ended with {done.returncode}")
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def devices(output: Path) -> dict[str, str]:
    """Worker (host:pid) -> UUID of the GPU that computed its shards, from the receipts. Who sees any other number of GPUs than one refuses to start."""
    from embermill.jobs.dataset.metadata.manifest import read_manifest
    from embermill.jobs.storage import open_folder

    manifest = read_manifest(open_folder(str(output)))
    assert manifest is not None
    provenances = map(dict, manifest.shards["provenance"].to_pylist())
    return {provenance["worker"]: provenance["device"] for provenance in provenances}


def forward_rate(model: Path, rows: int) -> float:
    """Tokens/s of the forward pass alone on lengths of the same distribution, ids packed beforehand."""
    from tests.bench.gpu_forward import Ours
    from tests.bench.peers_gpu import Workload

    lengths = lengths_of(min(rows, 65536), 0)  # 59 batches: the last, which is not full, counts for little
    work = Workload(lengths, np.random.default_rng(0).integers(1000, 30000, int(lengths.sum()), dtype=np.int32))
    run = Ours(str(model), "float16").prepare(work)
    run()
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return work.tokens / float(np.median(seconds))


def tokenizer_rate(corpus: Path, tokenizer_folder: Path) -> float:
    """Tokens/s of `encode_batch_fast` alone on the first file's rows, all cores, the best batch size."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(512)
    texts = pq.read_table(sorted(corpus.glob("*.parquet"))[0], columns=["text"])["text"].to_pylist()
    best = 0.0
    for size in TOKENIZER_BATCHES:
        begin = time.perf_counter()
        tokens = sum(len(e.ids) for k in range(0, len(texts), size) for e in tokenizer.encode_batch_fast(texts[k : k + size]))
        best = max(best, tokens / (time.perf_counter() - begin))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=NAMES, default="base")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/gpu-job"))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=16, help="of the corpus that is made")
    parser.add_argument("--use", default="*.parquet", help="those of its files that are embedded")
    parser.add_argument("--workers", default="1")
    parser.add_argument("--partition-text-bytes", type=int, default=None, help="8388608 for the two-GPU row")
    args = parser.parse_args()
    model, corpus = args.folder / args.model, args.folder / "corpus"
    if not corpus.exists():
        begin = time.perf_counter()
        tokens = write_corpus(corpus, args.tokenizer, args.rows, args.files)
        say(row="corpus", rows=args.rows, tokens=tokens, seconds=round(time.perf_counter() - begin, 1))
    write_random_model(SHAPES[NAMES[args.model]], model)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(args.tokenizer / name, model)
    by_tokenizer = args.model == "minilm"
    bound = tokenizer_rate(corpus, args.tokenizer) if by_tokenizer else forward_rate(model, args.rows)
    say(row="bound", model=args.model, what="tokenizers alone" if by_tokenizer else "forward pass alone", mtok_s=round(bound / 1e6, 3))
    rates = {}
    for workers in args.workers.split(","):
        answer = run_job(args.folder, model, args.use, workers, args.partition_text_bytes)
        rates[workers] = float(str(answer["tokens_per_s"]))
        over = round(rates[workers] / bound, 3)
        say(row="job", model=args.model, workers=workers, over_bound=over, devices=devices(args.folder / f"out-{workers}"), summary=answer)
    if len(rates) > 1:
        from embermill.jobs.dataset.views.compare import differences
        from embermill.jobs.storage import open_folder

        first, *others = rates
        for other in others:
            found = differences(open_folder(str(args.folder / f"out-{first}")), open_folder(str(args.folder / f"out-{other}")))
            say(row="gpus", model=args.model, ratio=round(rates[other] / rates[first], 3), differences=found[:5])


if __name__ == "__main__":
    main()
