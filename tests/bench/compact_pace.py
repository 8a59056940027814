"""One pass with four columns of vectors beside float32 alone: the pace of whole jobs without Ray (issue 18; bar 0.97 with BERT-base on a GPU).

    python -m tests.bench.compact_pace --tokenizer FOLDER [--model base] [--rows 160000] [--pairs 3] [--folder /dev/shm/compact-pace]

Documents of about 128 tokens: words that are one token each. Jobs alternate; a job is a worker in a process of its own, the driver in this one. The rate is
that between the first shard and the last, so without loading the model and without the sample on which the scale is measured, whose time wall_s includes.
One JSON line for each job, and one with the ratio of the medians. PACE_DEVICE=cpu tries the script.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.bench.gpu_pace import job
from tests.bench.gpu_stream import model_folder, say

FOUR: list[dict[str, Any]] = [
    {"column": "embedding"}, {"column": "embedding_half", "dtype": "float16"}, {"column": "embedding_int8", "dtype": "int8"},
    {"column": "embedding_bits", "dtype": "ubinary"},
]  # fmt: skip
PARTITION_TEXT_BYTES = 4 << 20
WORDS, SPREAD = 126, 12


def write_documents(folder: Path, tokenizer: Path, rows: int) -> None:
    """Four files of documents of about 126 words that the vocabulary has whole."""
    folder.mkdir(parents=True)
    vocabulary = json.loads((tokenizer / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    words = np.array(sorted(word for word in vocabulary if word.isascii() and word.isalpha() and word.islower() and len(word) > 1))
    random = np.random.default_rng(18)
    for number in range(4):
        lengths = np.maximum(8, random.normal(WORDS, SPREAD, rows // 4).astype(np.int64))
        ends = np.cumsum(lengths)
        drawn = words[random.integers(0, len(words), ends[-1])].tolist()
        texts = [" ".join(drawn[end - length : end]) for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]
        ids = pa.array(np.arange(len(texts)) + number * (rows // 4)).cast(pa.string())
        pq.write_table(pa.table({"id": ids, "text": texts}), folder / f"part-{number:02d}.parquet", row_group_size=4_096, compression="zstd")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--model", choices=("minilm", "base"), default="base")
    parser.add_argument("--rows", type=int, default=160_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--partition-text-bytes", type=int, default=PARTITION_TEXT_BYTES)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm/compact-pace"))
    args = parser.parse_args()
    place, corpus = args.folder, args.folder / "documents"
    place.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(corpus, ignore_errors=True)
    write_documents(corpus, args.tokenizer, args.rows)
    model = model_folder(args.model, args.tokenizer, place)
    rates: dict[str, list[float]] = {"float32": [], "four": []}
    for pair in range(args.pairs):
        for way in ("float32", "four") if pair % 2 == 0 else ("four", "float32"):
            vectors: dict[str, Any] = {"vectors": FOUR} if way == "four" else {}
            settings = {"partition_text_bytes": args.partition_text_bytes}
            rates[way].append(job(args.model, model, corpus, "*.parquet", way, place, False, settings, vectors).rows_s)
    medians = {way: statistics.median(found) for way, found in rates.items()}
    ratio = medians["four"] / medians["float32"]
    say(row="compact", model=args.model, float32_rows_s=round(medians["float32"]), four_rows_s=round(medians["four"]), ratio=round(ratio, 4), bar=0.97)


if __name__ == "__main__":
    main()
