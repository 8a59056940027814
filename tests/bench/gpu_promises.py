"""What is promised beside speed, on one GPU: accuracy on real text, the same bits in any company, the time to the first vector, text in and vectors out.

    python -m tests.bench.gpu_promises accuracy --data FOLDER          # FOLDER from tests.bench.accuracy_data
    python -m tests.bench.gpu_promises invariance --model base
    python -m tests.bench.gpu_promises start --model base              # new processes, kernel cache empty and warm
    python -m tests.bench.gpu_promises text --model minilm --tokenizer FOLDER/model
Every line is JSON. `start` and `text` write models of random weights with the tokenizer of --tokenizer.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np

PRECISIONS = ("float16", "bfloat16")
FIRST_VECTOR = """
import sys, time
import cupy
cupy.cuda.Device().synchronize(); cupy.zeros(1)
begin = time.perf_counter()
from embermill.encoder.encoder import Encoder
encoder = Encoder.from_pretrained(sys.argv[1], device="gpu", precision=sys.argv[2])
vector = encoder.encode_token_ids([[101, 2054, 2003, 102]])
print(round(time.perf_counter() - begin, 3), vector.shape)
encoder.close()
"""


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def accuracy(data: Path) -> None:
    """Cosine to float32 vectors that the NumPy operations made from the F32 weights."""
    from embermill.encoder.encoder import Encoder

    documents = np.load(data / "documents.npz")
    expected = documents["vectors"].astype(np.float64)
    for precision in PRECISIONS:
        with Encoder.from_pretrained(str(data / "model"), device="gpu", precision=precision) as encoder:
            got = encoder.encode_token_ids(documents["input_ids"], documents["offsets"]).astype(np.float64)
        cosines = (got * expected).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(expected, axis=1)
        say(row="accuracy", precision=precision, documents=len(cosines), minimum=round(cosines.min(), 7), mean=round(cosines.mean(), 7))


def invariance(model: str) -> None:
    """1,000 documents of mixed lengths: each alone, all shuffled, under other budgets; embeddings must have the same bits."""
    from embermill.encoder.pipeline.batching import pack
    from tests.bench.gpu_forward import Ours
    from tests.bench.peers_gpu import Workload, write_model

    work = Workload.make("mixed", 200_000, seed=3)
    rows, folder = work.rows()[:1000], write_model(model, f"/tmp/{model}")
    for precision in PRECISIONS:
        ours = Ours(folder, precision)

        def embed(order: np.ndarray, budget: int, program: object = ours.program(ours.budget)) -> dict[int, bytes]:
            ids, offsets = np.concatenate([rows[i] for i in order]), np.cumsum([0, *(len(rows[i]) for i in order)])
            found: dict[int, bytes] = {}
            for batch in pack(ids, offsets, budget):
                vectors = program.submit(batch).result()  # type: ignore[attr-defined]
                found |= {int(order[k]): vector.tobytes() for k, vector in zip(batch.order.tolist(), vectors, strict=True)}
            return found

        together, different = embed(np.arange(1000), ours.budget), {}
        for name, order, budget in (
            ("shuffled", np.random.default_rng(1).permutation(1000), ours.budget),
            ("budget 512", np.arange(1000), 512),
            ("budget 5000", np.random.default_rng(2).permutation(1000), 5000),
            ("budget 30000", np.arange(1000), 30000),
        ):
            different[name] = sum(together[i] != bits for i, bits in embed(order, budget).items())
        different["alone"] = sum(together[i] != embed(np.array([i]), ours.budget)[i] for i in range(1000))
        say(row="invariance", model=model, precision=precision, documents=1000, documents_with_other_bits=different)


def start(model: str, precision: str) -> None:
    """Seconds from a new process that has imported cupy and made its context to its first vector."""
    from tests.bench.peers_gpu import write_model

    folder = write_model(model, f"/tmp/{model}")
    with tempfile.TemporaryDirectory() as cache:
        for name in ("cold", "warm", "warm again"):
            command = [sys.executable, "-c", FIRST_VECTOR, folder, precision]
            done = subprocess.run(command, env=os.environ | {"EMBERMILL_KERNEL_CACHE": cache}, capture_output=True, text=True, check=False)
            say(row="first vector", model=model, precision=precision, cache=name, seconds=done.stdout.strip() or done.stderr[-600:])


def documents(corpus: str, limit: int) -> list[str]:
    """`limit` texts: docstrings of the standard library (some 60 tokens each) as often as needed, or of the installed packages (some 100)."""
    if corpus == "packages":
        from tests.bench.corpus import docstrings

        return docstrings(os.cpu_count() or 1)[:limit]
    from infra.demo.stdlib_corpus import rows

    texts = [row.body for row in rows(Path(os.__file__).parent)]
    return list(islice(cycle(texts), limit))


def with_tokenizer(model: str, tokenizer: Path) -> str:
    """A model of random weights, with a tokenizer of the same vocabulary, in a folder that sentence-transformers reads as well."""
    from tests.bench.peers_gpu import write_model

    folder = write_model(model, f"/tmp/{model}-text")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        if (tokenizer / name).exists():
            shutil.copy(tokenizer / name, folder)
    return folder


def peer_alone(folder: str, texts: list[str]) -> float:
    """Tokens/s of peers_st_gpu.py as it stands, batch 256, all texts, in a process of its own."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "texts.jsonl"
        file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        command = [sys.executable, "-m", "tests.bench.peers_st_gpu", "--model", folder, "--texts", str(file), "--batches", "256", "--limit", str(len(texts))]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["tok_s"])


def text(model: str, tokenizer: Path, corpus: str, limit: int) -> None:
    """Text in, vectors out: beside peers_st_gpu.py, and in turns with sentence-transformers (batch 256) in this process. Tokens are the real ones.

    over: our rate over the script's. over_in_turns: over the peer's in this process, on an eighth of the texts. ids_in_mtok_s: ours without a tokenizer.
    """
    import torch
    from sentence_transformers import SentenceTransformer

    from embermill.encoder.encoder import Encoder
    from tests.bench.peers_st_gpu import count_tokens

    texts, folder = documents(corpus, limit), with_tokenizer(model, tokenizer)
    script = peer_alone(folder, texts)
    peer = SentenceTransformer(folder, device="cuda", model_kwargs={"torch_dtype": torch.float16})
    tokens = count_tokens(peer, texts)
    with Encoder.from_pretrained(folder, device="gpu", precision="float16") as encoder:
        few = len(texts) // 8
        tokenized = encoder.description.open_tokenizer().tokenize(texts)

        def ours() -> float:
            begin = time.perf_counter()
            encoder.encode(texts)
            return time.perf_counter() - begin

        def ids_in() -> float:
            begin = time.perf_counter()
            encoder.encode_token_ids(tokenized.input_ids, tokenized.offsets)
            return time.perf_counter() - begin

        def theirs() -> float:
            begin = time.perf_counter()
            peer.encode(texts[:few], batch_size=256, show_progress_bar=False)
            torch.cuda.synchronize()
            return time.perf_counter() - begin

        share = count_tokens(peer, texts[:few])
        ours(), theirs()
        mine, alone, its = (np.median(seconds) for seconds in zip(*((ours(), ids_in(), theirs()) for _ in range(3)), strict=True))
        say(
            row="text", model=model, corpus=corpus, docs=len(texts), tokens=tokens, mtok_s=round(tokens / mine / 1e6, 3),
            script_mtok_s=round(script / 1e6, 3), over=round(tokens / mine / script, 2),
            in_turns_mtok_s=round(share / its / 1e6, 3), over_in_turns=round(tokens / mine / (share / its), 2),
            ids_in_mtok_s=round(tokens / alone / 1e6, 3), busy=encoder.busy_seconds,
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["accuracy", "invariance", "start", "text"])
    parser.add_argument("--data", type=Path, default=Path(".carry/accuracy"))
    parser.add_argument("--model", default="base")
    parser.add_argument("--precision", default="float16")
    parser.add_argument("--tokenizer", type=Path, default=Path(".carry/accuracy/model"))
    parser.add_argument("--corpus", choices=["stdlib", "packages"], default="stdlib")
    parser.add_argument("--limit", type=int, default=100_000)
    args = parser.parse_args()
    if args.what == "accuracy":
        accuracy(args.data)
    elif args.what == "invariance":
        invariance(args.model)
    elif args.what == "start":
        start(args.model, args.precision)
    else:
        text(args.model, args.tokenizer, args.corpus, args.limit)


if __name__ == "__main__":
    main()
