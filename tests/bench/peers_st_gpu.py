"""What a user runs today, end to end on one GPU: sentence-transformers, text in, vectors out, tokenising included.

    python -m tests.bench.peers_st_gpu --model FOLDER --texts FILE.jsonl [--batches 32,256] [--dtype float16] [--limit N]
FOLDER is a sentence-transformers folder or a plain BERT folder with a tokenizer; FILE holds a "text" in every line.
Prints one JSON line per batch size: documents/s and real tokens/s.
"""
from __future__ import annotations

import argparse
import json
import time
from itertools import islice
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer


def rate(model: SentenceTransformer, texts: list[str], batch: int) -> float:
    """Seconds to embed all texts, warm."""
    model.encode(texts[:4000], batch_size=batch, show_progress_bar=False)
    torch.cuda.synchronize()
    begin = time.perf_counter()
    model.encode(texts, batch_size=batch, show_progress_bar=False)
    torch.cuda.synchronize()
    return time.perf_counter() - begin


def count_tokens(model: SentenceTransformer, texts: list[str]) -> int:
    backend = model.tokenizer.backend_tokenizer
    backend.no_padding()
    backend.enable_truncation(model.max_seq_length)
    return sum(len(e.ids) for k in range(0, len(texts), 10000) for e in backend.encode_batch_fast(texts[k : k + 10000]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--texts", required=True)
    parser.add_argument("--batches", default="32,256")
    parser.add_argument("--dtype", default="float16")
    parser.add_argument("--limit", type=int, default=100_000)
    args = parser.parse_args()
    with Path(args.texts).open(encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in islice(lines, args.limit)]
    model = SentenceTransformer(args.model, device="cuda", model_kwargs={"torch_dtype": getattr(torch, args.dtype)})
    seconds = {batch: rate(model, texts, batch) for batch in map(int, args.batches.split(","))}
    tokens = count_tokens(model, texts)
    for batch, s in seconds.items():
        peer = f"sentence-transformers-{args.dtype}-batch{batch}"
        print(json.dumps(dict(peer=peer, docs=len(texts), tokens=tokens, docs_s=round(len(texts) / s), tok_s=round(tokens / s))), flush=True)


if __name__ == "__main__":
    main()
