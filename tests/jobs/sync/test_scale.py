"""The row of the issue: a part of a corpus changes in every way, and the cost is that of the part. `python -m tests.jobs.sync.test_scale` does it in full."""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest

from embermill.jobs.engine import Embedded, Output
from embermill.jobs.run import run
from embermill.jobs.sync.job import sync
from tests.jobs.command_line import open_inline_pool
from tests.jobs.sync.corpus import Corpus, Row, TellingEngine, configure, live_rows, row

DIM = 384
UNTOUCHED = 5  # every fifth file


class WideEngine(TellingEngine):
    """Vectors of 384 numbers that follow from the text."""

    def outputs(self) -> tuple[Output, ...]:
        return (Output("embedding", "dense", "float32", DIM),)

    def embed(self, texts):  # type: ignore[no-untyped-def]
        for batch in texts:
            TellingEngine.given += batch.to_pylist()
            seeds = [int.from_bytes(text.encode()[-8:].rjust(8), "big") for text in batch.to_pylist()]
            vectors = np.stack([np.random.default_rng(seed).standard_normal(DIM, np.float32) for seed in seeds])
            counts = np.full(len(seeds), 3, np.int32)
            yield Embedded({"embedding": vectors}, counts, np.zeros(len(seeds), np.int32))


ENGINE = {"engine": "python:tests.jobs.sync.test_scale:WideEngine"}


def check(root: Path, rows: int, files: int) -> dict[str, object]:
    """1 % of the texts edited, 1 % inserted, 1 % deleted, 1 % with other kept columns; a fifth of the files untouched."""
    corpus, share, rng = Corpus(root / "corpus"), rows // 100, random.Random(7)
    settings: dict[str, Any] = {"model": ENGINE, "corpus": {"complete": True, "partition_text_bytes": 1 << 20}}
    per_file = rows // files
    for file in range(files):
        corpus.write(f"{file:03d}.jsonl", [row(f"r{n:07d}", f"the text of row {n:07d}") for n in range(file * per_file, (file + 1) * per_file)])
    run(configure(root, **settings))
    corpus.write("000.jsonl", corpus.files["000.jsonl"], at_s=1_600_000_000)
    assert sync(configure(root, **settings)).texts_embedded == 0  # the keys of what the run made stand from now on
    touched = [name for number, name in enumerate(sorted(corpus.files)) if number % UNTOUCHED]
    places = rng.sample([(name, place) for name in touched for place in range(per_file)], 3 * share)
    edited, deleted, tagged = (set(places[part * share : (part + 1) * share]) for part in range(3))
    inserted = iter(range(rows, rows + share))
    for name in touched:
        found: list[Row] = []
        for place, each in enumerate(corpus.files[name]):
            if (name, place) in deleted:
                continue
            found.append(each | ({"text": each["text"] + " edited"} if (name, place) in edited else {"lang": "de"} if (name, place) in tagged else {}))
        found += [row(f"r{n:07d}", f"the text of row {n:07d}") for n in [next(inserted, None) for _ in range(-(-share // len(touched)))] if n is not None]
        corpus.write(name, found)
    TellingEngine.taken()
    opened = _watch()
    before = _bytes(root / "out")
    with opened as seen:
        summary = sync(configure(root, **settings))
    given = TellingEngine.taken()
    written = _bytes(root / "out") - before
    assert len(given) == 2 * share == summary.texts_embedded and (summary.rows_deleted, summary.rows_metadata) == (share, share)
    assert seen == set(touched)
    raw = 3 * share * (4 * DIM + 64)
    assert written <= 1.5 * raw + (1 << 20), (written, raw)
    run(configure(root, "fresh", **settings))
    without = ("version",)
    assert live_rows(str(root / "out"), without=without) == live_rows(str(root / "fresh"), without=without)
    return {"rows": rows, "texts": len(given), "bytes_written": written, "raw": raw, "seconds": summary.seconds, "opened": len(seen)}


class _watch:
    """Names of the corpus files that are opened."""

    def __enter__(self) -> set[str]:
        from embermill.jobs.corpus import reading
        from embermill.jobs.plan import listing

        seen: set[str] = set()
        self._patches = []
        for module in (reading, listing):
            real = module.open_input  # type: ignore[attr-defined]

            def spy(path: str, size: int, version: str, real=real):  # type: ignore[no-untyped-def]
                seen.add(Path(path).name)
                return real(path, size, version)

            self._patches.append(mock.patch.object(module, "open_input", spy))
            self._patches[-1].start()
        return seen

    def __exit__(self, *_: object) -> None:
        for patch in self._patches:
            patch.stop()


def _bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def test_two_hundredths_of_the_texts_are_embedded(tmp_path: Path) -> None:
    check(tmp_path, 4_000, 20)


if __name__ == "__main__":
    pa.set_cpu_count(2)
    with (
        tempfile.TemporaryDirectory() as place,
        mock.patch("embermill.jobs.run.open_pool", open_inline_pool),
        mock.patch("embermill.jobs.sync.stages.open_pool", open_inline_pool),
    ):
        print(json.dumps(check(Path(place), int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, 50)))


@pytest.mark.parametrize("files", [2_000])
def test_nothing_changed_in_many_files(tmp_path: Path, corpus: Corpus, files: int) -> None:
    """10,000 files take at most 3 s: by hand, and here a fifth of them in a fifth of that, on a machine that does nothing else."""
    for file in range(files):
        corpus.write(f"{file:05d}.jsonl", [row(f"r{file}", f"text {file}")])
    run(configure(tmp_path, corpus={"partition_text_bytes": 1 << 20}))
    begin = time.process_time()
    summary = sync(configure(tmp_path, corpus={"partition_text_bytes": 1 << 20}))
    seconds = time.process_time() - begin
    assert (summary.action, summary.files["same"]) == ("nothing", files) and seconds < 3
