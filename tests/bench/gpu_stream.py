"""Texts into vectors, streamed, at the pace of a GPU: the encoder alone, sentence-transformers beside it, and what both and the jobs of gpu_pace share.

gpu_pace.py runs it (`--parts stream,peer`). "exact" is by `tokenizers`, "fast" by nanotoken; "ids" is encode_token_ids on the same documents.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embermill.encoder.measure.random_model import SHAPES, write_random_model

NAMES = {"minilm": "minilm-l6", "base": "bert-base"}
BATCH_ROWS = 8192
DEVICE = os.environ.get("PACE_DEVICE", "gpu")  # "cpu" to try the script
PRECISION = "float16" if DEVICE == "gpu" else "float32"
BEGIN = time.monotonic()


def say(**facts: Any) -> None:
    print(json.dumps(facts | {"at_s": round(time.monotonic() - BEGIN, 1)}), flush=True)


def model_folder(name: str, tokenizer: Path, place: Path) -> Path:
    """Random weights and the tokenizer; sentence-transformers reads it as well."""
    folder = place / name
    if not folder.exists():
        write_random_model(SHAPES[NAMES[name]], folder)
        for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
            if (tokenizer / file).exists():
                shutil.copy(tokenizer / file, folder)
    return folder


def batches_of(corpus: Path) -> Iterator[pa.Array]:
    for file in sorted(corpus.glob("*.parquet")):
        for batch in pq.ParquetFile(file).iter_batches(BATCH_ROWS, columns=["text"]):
            yield batch.column(0)


def docstring_batches(rows: int) -> list[pa.Array]:
    from tests.bench.gpu_promises import documents

    texts = [f"{text} {number}" for number, text in enumerate(documents("stdlib", rows))]
    return [pa.array(texts[at : at + BATCH_ROWS]) for at in range(0, len(texts), BATCH_ROWS)]


def timed_stream(encoder: Any, batches: Iterator[pa.Array] | list[pa.Array], seconds: float) -> dict[str, Any]:
    """Tokens/s between the first answer and the last. No batch is taken after `seconds`."""
    begin = time.perf_counter()

    def feed() -> Iterator[pa.Array]:
        for batch in batches:
            if time.perf_counter() - begin > seconds:
                return
            yield batch

    tokens = rows = 0
    first: float | None = None
    for answer in encoder.encode_stream(feed()):
        if first is None:
            first = time.perf_counter()
            continue
        tokens, rows = tokens + int(answer.num_tokens.sum()), rows + len(answer.num_tokens)
    took = time.perf_counter() - (first or begin)
    rates = dict(mtok_s=round(tokens / took / 1e6, 3), rows_s=round(rows / took), rows=rows, seconds=round(took, 1))
    return rates | dict(first_answer_s=round((first or 0) - begin, 2))


def stream(name: str, folder: Path, corpora: dict[str, Any], seconds: float, ways: list[str]) -> None:
    from embermill.encoder import Encoder

    for way in ways:
        with Encoder.from_pretrained(folder, device=DEVICE, precision=PRECISION) as encoder:
            if way == "exact":
                encoder.tokenize_exactly()
            encoder.encode(["warm"] * 64)
            for corpus, batches in corpora.items():
                if way == "ids":
                    ids_in(name, encoder, corpus, batches(), seconds)
                    continue
                before = encoder.busy_seconds
                figures = timed_stream(encoder, batches(), seconds if way == "fast" else seconds / 2)
                busy = {stage: round(now - before[stage], 1) for stage, now in encoder.busy_seconds.items()}
                say(row="stream", model=name, corpus=corpus, way=way, tokenizer=encoder.tokenizer_name, **figures, busy=busy)


def ids_in(name: str, encoder: Any, corpus: str, batches: Any, seconds: float) -> float:
    """Million tokens/s of encode_token_ids."""
    tokenizer = encoder.description.open_tokenizer()
    parts, tokens = [], 0
    for batch in batches:
        parts.append(tokenizer.tokenize(batch.to_pylist()))
        tokens += len(parts[-1].input_ids)
        if tokens > (15e6 if "minilm" in name else 2.8e6) * seconds / 2:
            break
    ids, lengths = np.concatenate([part.input_ids for part in parts]), np.concatenate([np.diff(part.offsets) for part in parts])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    begin = time.perf_counter()
    encoder.encode_token_ids(ids, offsets)
    took = time.perf_counter() - begin
    say(row="stream", model=name, corpus=corpus, way="ids", mtok_s=round(tokens / took / 1e6, 3), seconds=round(took, 1))
    return tokens / took / 1e6


def peer(folder: Path, rows: int, scripts: Path) -> None:
    """sentence-transformers at batch 256 in a process of its own."""
    from tests.bench.gpu_promises import documents

    file = folder.parent / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": f"{text} {number}"}) + "\n" for number, text in enumerate(documents("stdlib", rows))), encoding="utf-8")
    command = [sys.executable, str(scripts / "peers_st_gpu.py"), "--model", str(folder), "--texts", str(file), "--batches", "256", "--limit", str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    say(row="peer", model=folder.name, said=done.stdout.strip().splitlines()[-1:] or done.stderr[-300:])
