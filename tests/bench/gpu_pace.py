"""Text in, vectors stored, at the pace of the GPU (issue 20): streams, whole jobs without Ray, short rows and the start, each beside its baseline.

    python -m tests.bench.gpu_pace --tokenizer FOLDER --parts start,peer,stream,job,short,long [--rows 3000000] [--seconds 20] [--folder /dev/shm/pace]

"long" is documents of about 10,000 tokens, cut to chunks of 256 and 512, beside rows as they are.
FOLDER holds all-MiniLM-L6-v2's tokenizer files; models have random weights. One JSON line for each figure, as soon as it is there. "exact" is by `tokenizers`,
as before; "fast" by nanotoken; "ids" is encode_token_ids on the same documents. A job is a worker in a process of its own, the driver in this one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.bench.gpu_stream import DEVICE, PRECISION, batches_of, docstring_batches, model_folder, peer, say, stream
from tests.bench.process_pool import ProcessPool
from tests.bench.without_ray import without_ray

CORES = int(os.environ.get("PACE_CORES", os.cpu_count() or 1))
SPY_SECONDS = 30
CONTEXT_ALONE = """
import sys, time
begin = float(sys.argv[2])
import cupy
cupy.zeros(1); cupy.cuda.Device().synchronize()
print(round(time.time() - begin, 2))
"""
FIRST_VECTOR = """
import sys, time
begin = float(sys.argv[2])
from embermill.encoder import Encoder
encoder = Encoder.from_pretrained(sys.argv[1], device="gpu", precision="float16")
loaded = time.time() - begin
encoder.encode(["how do I open a zip file"])
print(round(loaded, 2), round(time.time() - begin, 2))
"""


def short_corpus(folder: Path, rows: int, source: Path) -> None:
    """Rows of about 15 tokens: pieces of the mixed corpus' texts, each with a number."""
    folder.mkdir(parents=True)
    texts = pq.read_table(sorted(source.glob("*.parquet"))[0], columns=["text"])["text"].to_pylist()
    words = " ".join(texts[:20_000]).split()
    each = rows // 16
    rng = np.random.default_rng(1)
    for file in range(16):
        first = rng.integers(0, len(words) - 8, each).tolist()
        made = [" ".join(words[at : at + 5]) for at in first]
        ids = pa.array(np.arange(file * each, (file + 1) * each)).cast(pa.string())
        pq.write_table(pa.table({"id": ids, "text": made}), folder / f"part-{file:02d}.parquet", row_group_size=65_536, compression="zstd")


class _Pool(ProcessPool):
    """Takes down when each shard came."""

    def __init__(self, job: Any) -> None:
        super().__init__(job)
        self.came: list[tuple[float, int, int]] = []
        self.begin = time.monotonic()

    def events(self, timeout_s: float) -> list[Any]:
        from embermill.jobs.receipt import Progress, Ready, Receipt

        found = super().events(timeout_s)
        for _, event in found:
            if isinstance(event, Receipt):
                self.came.append((time.monotonic(), event.tokens, event.documents))
            elif isinstance(event, Ready):
                say(row="worker ready", seconds=round(time.monotonic() - self.begin, 2), loading=round(event.seconds_to_load, 2))
            elif isinstance(event, Progress) and event.tokens and not hasattr(self, "first"):
                self.first = time.monotonic()
                say(row="first vector", seconds=round(self.first - self.begin, 2))
        return found


class Rate(NamedTuple):
    mtok_s: float
    rows_s: float


class Spy:
    """py-spy beside the worker for SPY_SECONDS, which the job must outlast: the share of that time
    in which a thread of it holds the interpreter, and the lines that do."""

    def __init__(self, pool: _Pool) -> None:
        self._pool, self._file = pool, Path("/tmp/gil.raw")
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._file.unlink(missing_ok=True)
        self._thread.start()

    def _watch(self) -> None:
        while len(self._pool.came) < 2:
            time.sleep(0.2)
        pid = next(iter(self._pool._workers.values()))[0].pid
        program = next((str(path) for folder in ["/usr/bin", *sys.path] if (path := Path(folder) / "bin" / "py-spy").exists()), "py-spy")
        command = [program, "record", "--gil", "-r", "100", "-d", str(SPY_SECONDS), "-f", "raw", "-o", str(self._file), "--pid", str(pid)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self._said = (done.stdout + done.stderr)[-300:]

    def tell(self) -> None:
        self._thread.join(30)
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        held = [(int(line.rpartition(" ")[2]), line.rpartition(" ")[0].split(";")) for line in lines]
        by_line, by_loop = Counter[str](), Counter[str]()
        for count, frames in held:
            by_line[frames[-1]] += count
            ours = [frame for frame in frames if "embermill" in frame]
            by_loop[" > ".join(frame.partition(" ")[0] for frame in ours[:3])] += count
        share = sum(count for count, _ in held) / (100 * SPY_SECONDS)
        found = dict(lines=by_line.most_common(14), loops=by_loop.most_common(24))
        say(row="interpreter", held=round(share, 3), **found, said="" if held else getattr(self, "_said", ""))


def python_path(way: str, place: Path) -> str:
    """For "exact" a nanotoken that is not installed."""
    hidden = place / "without_nanotoken"
    hidden.mkdir(exist_ok=True)
    (hidden / "nanotoken.py").write_text("raise ImportError('hidden')\n", encoding="utf-8")
    sys.path = [str(hidden)] * (way == "exact") + [path for path in sys.path if path != str(hidden)]  # a process that is spawned gets it
    given = os.environ.get("PYTHONPATH", "")
    return f"{hidden}:{given}" if way == "exact" else given


def job(
    name: str, model: Path, corpus: Path, files: str, way: str, place: Path, spy: bool,
    settings: dict[str, Any] | None = None, more: dict[str, Any] | None = None, chunk_tokens: int = 0,
) -> Rate:  # fmt: skip
    """Between the first shard and the last. settings, more: of the sections corpus and output. chunk_tokens: that documents are cut to; 0: none is."""
    without_ray(CORES, int(DEVICE == "gpu"))
    from embermill.jobs import run as run_module
    from embermill.jobs.config import load_config
    from embermill.jobs.pool.opening import OpenPool, worker_job
    from embermill.jobs.pool.placement import Node
    from embermill.jobs.pool.placement import place as placed
    from embermill.jobs.process.allocators import worker_settings

    output, pools = place / "out", list[_Pool]()
    shutil.rmtree(output, ignore_errors=True)
    file = place / "job.yaml"
    told = {"model": {"source": str(model), "precision": PRECISION}, "corpus": {"files": [str(corpus / files)]} | (settings or {})}
    if chunk_tokens:
        told["model"]["on_long_text"], told["chunk"] = "split", {"max_tokens": chunk_tokens}
    workers = {"device": DEVICE, "count": 1} | ({} if DEVICE == "gpu" else {"cpus": CORES})
    file.write_text(json.dumps(told | {"output": {"uri": str(output)} | (more or {}), "workers": workers}), encoding="utf-8")

    @contextlib.contextmanager
    def open_pool(config: Any, folder: Any, plan: Any, making: Any = None) -> Iterator[OpenPool]:
        placement = placed(config.workers, [Node(cpus=CORES, gpus=int(DEVICE == "gpu"))], joined=False)
        environment = worker_settings(DEVICE, placement.cpus) | {"CUDA_VISIBLE_DEVICES": "0", "PYTHONPATH": python_path(way, place)}
        with mock.patch.dict(os.environ, environment):
            pool = _Pool(worker_job(config, placement, plan, making=making))
            pools.append(pool)
            if spy:
                spies.append(Spy(pool))
            try:
                yield OpenPool(pool, placement)
            finally:
                pool.close()

    spies = list[Spy]()
    begin = time.monotonic()
    with mock.patch.object(run_module, "open_pool", open_pool):
        summary = run_module.run(load_config(file))
    wall = time.monotonic() - begin
    for each in spies:
        each.tell()
    came = pools[0].came
    tokens, rows = sum(one[1] for one in came[1:]), sum(one[2] for one in came[1:])
    between = max(came[-1][0] - came[0][0], 1e-9)
    size = sum(path.stat().st_size for path in output.rglob("*.parquet"))
    say(
        row="job", tokenizer=tokenizer_of(output), model=name, chunk_tokens=chunk_tokens,
        corpus=corpus.name, way=way, mtok_s=round(tokens / between / 1e6, 3), rows_s=round(rows / between), seconds=round(between, 1),
        wall_s=round(wall, 1), first_commit_s=round(came[0][0] - begin, 2), rows=sum(one[2] for one in came), shards=len(came), gigabytes=round(size / 1e9, 2),
        bound=summary.bound, shares=summary.stage_shares,
    )  # fmt: skip
    return Rate(tokens / between / 1e6, rows / between)


def long_documents(models: dict[str, Path], tokenizer: Path, documents: int, corpus: Path, place: Path, spy: bool) -> None:
    """documents: of about 10,000 tokens, for the smallest model; others get less of them, and of the rows."""
    from tests.bench.corpus import write_long_corpus

    whole = place / "long"
    if not any(whole.glob("*.parquet")):
        tokens, characters = write_long_corpus(whole, tokenizer, documents)
        say(row="long corpus", documents=documents, tokens=tokens, characters=characters)
    for name, model in models.items():
        job(name, model, corpus, "part-0[0-7].parquet" if name == "minilm" else "part-0[0-1].parquet", "fast", place, False)
        for limit in (256, 512):
            job(name, model, whole, "*.parquet" if name == "minilm" else "part-0[0-4].parquet", "fast", place, spy, chunk_tokens=limit)


def tokenizer_of(output: Path) -> str:
    from embermill.jobs.dataset.metadata.commits import CommitLog
    from embermill.jobs.storage import open_folder

    return next((receipt.provenance.get("tokenizer", "") for receipt in CommitLog(open_folder(str(output))).receipts()), "")


def start(name: str, model: Path) -> None:
    """Seconds from the start of Python: model loaded, first vector; beside it, in a process of its own, the import of CuPy and a context."""
    for cache in ("first", *["warm"] * 5):
        context, vector = (seconds_of(program, model) for program in (CONTEXT_ALONE, FIRST_VECTOR))
        say(row="start", model=name, cache=cache, context_alone=context, loaded_vector=vector)


def seconds_of(program: str, model: Path) -> Any:
    done = subprocess.run([sys.executable, "-c", program, str(model), str(time.time())], capture_output=True, text=True, check=False)
    return [float(figure) for figure in done.stdout.split()] or done.stderr[-300:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--parts", default="start,peer,stream,job,short")
    parser.add_argument("--models", default="minilm,base")
    parser.add_argument("--ways", default="fast,exact,ids")
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--short-rows", type=int, default=5_000_000)
    parser.add_argument("--long-documents", type=int, default=20_800)
    parser.add_argument("--docstrings", type=int, default=400_000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm/pace"))
    parser.add_argument("--peers", type=Path, default=Path(".carry/peers"))
    parser.add_argument("--spy", action="store_true")
    args = parser.parse_args()
    parts, ways, place = args.parts.split(","), args.ways.split(","), args.folder
    place.mkdir(parents=True, exist_ok=True)
    models = {name: model_folder(name, args.tokenizer, place) for name in args.models.split(",")}
    corpus = place / "mixed"
    if {"stream", "job", "short", "long"} & {*parts} and not any(corpus.glob("*.parquet")):
        from tests.bench.corpus import write_corpus

        say(row="corpus", rows=args.rows, tokens=write_corpus(corpus, args.tokenizer, args.rows))
    if "start" in parts:
        for name, model in models.items():
            start(name, model)
    if "peer" in parts:
        peer(models["minilm"], 60_000, args.peers)
    if "stream" in parts:
        made = docstring_batches(args.docstrings)
        for name, model in models.items():
            stream(name, model, {"docstrings": lambda: made, "mixed": lambda: batches_of(corpus)}, args.seconds, ways)
    if "job" in parts:
        for way in ways:
            if way != "ids":
                for name, model in models.items():
                    files = "*.parquet" if name == "minilm" and way == "fast" else "part-0[0-3].parquet" if name == "minilm" else "part-0[0-1].parquet"
                    job(name, model, corpus, files, way, place, args.spy and way == "fast" and name == "minilm")
    if "short" in parts:
        short_corpus(place / "short", args.short_rows, corpus)
        job("minilm", models["minilm"], place / "short", "*.parquet", "fast", place, args.spy)
    if "long" in parts:
        long_documents(models, args.tokenizer, args.long_documents, corpus, place, args.spy)


if __name__ == "__main__":
    main()
