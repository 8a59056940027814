"""Shards of chunks are equal, byte for byte, whatever the workers, the batches and the blocks that were read. One private Ray serves the whole file."""

from __future__ import annotations

import inspect
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embermill.jobs.config import JobConfig
from embermill.jobs.corpus import lines, reading
from embermill.jobs.dataset.views.compare import differences
from embermill.jobs.driver.summary import Summary
from embermill.jobs.pool.ray_session import RaySession
from embermill.jobs.run import run
from embermill.jobs.storage import open_folder
from embermill.jobs.worker.cutting import LIMITS, BatchLimits
from tests.jobs.command_line import open_inline_pool
from tests.jobs.test_chunked_job import words

WORKERS = 4


def config(folder: Path, name: str, workers: int) -> JobConfig:
    values: dict[str, dict[str, Any]] = {
        "model": {"engine": "python:tests.jobs.chunk_engine:WordPieceEngine", "on_long_text": "split"},
        "chunk": {"overlap_tokens": 20, "keep_text": True},
        "corpus": {"files": [str(folder / "corpus")], "partition_text_bytes": 20_000, "max_quarantined": 5},
        "output": {"uri": str(folder / name), "shard_bytes": 6000},
        "workers": {"count": workers, "device": "cpu"},
    }
    return JobConfig.model_validate(values)


@pytest.fixture(scope="module")
def connected() -> Iterator[None]:
    with RaySession(config(Path("/"), "out", WORKERS)) as session:
        session.wait()
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 documents of 1 to 2,000 words, some with words that no chunk can hold, and a line that is no JSON."""
    folder, chosen = tmp_path_factory.mktemp("job"), random.Random(5)
    ends = ["", " " + "\u0416" * 300, "\r\n\u6f22\u5b57\u3002" * 40]
    texts = [words(chosen.choice([3, 50, 300, 2000]), number) + chosen.choice(ends) for number in range(150)]
    (folder / "corpus").mkdir()
    rows = [json.dumps({"id": str(number), "text": text}) for number, text in enumerate(texts)]
    (folder / "corpus/a.jsonl").write_text("\n".join([*rows[:90], "{", *rows[90:]]) + "\n")
    return folder


@pytest.fixture(scope="module")
def expected(corpus: Path) -> Summary:
    """By one worker in this process."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("embermill.jobs.run.open_pool", open_inline_pool)
        summary = run(config(corpus, "inline", 1))
    assert summary.documents == 150 and summary.shards > 40 and summary.rows_out > 1000
    return summary


def require_equal(summary: Summary, expected: Summary) -> None:
    assert differences(open_folder(summary.output), open_folder(expected.output)) == []
    told = ("rows_out", "documents", "shards", "tokens", "unknown_words")
    assert {name: getattr(summary, name) for name in told} == {name: getattr(expected, name) for name in told}


@pytest.mark.parametrize("workers", [1, 2, WORKERS])
def test_workers(connected: None, corpus: Path, expected: Summary, workers: int) -> None:
    summary = run(config(corpus, f"workers-{workers}", workers))
    assert summary.workers == workers
    require_equal(summary, expected)


@pytest.mark.parametrize(("rows", "text_bytes"), [(1, 1), (7, 3000), (100_000, 100_000_000)])
def test_batches_for_the_engine(corpus: Path, expected: Summary, monkeypatch: pytest.MonkeyPatch, rows: int, text_bytes: int) -> None:
    monkeypatch.setattr("embermill.jobs.run.open_pool", open_inline_pool)
    monkeypatch.setitem(LIMITS, "cpu", BatchLimits(rows, text_bytes))
    require_equal(run(config(corpus, f"batches-{rows}", 1)), expected)


@pytest.mark.parametrize(("block_bytes", "rows"), [(100, 1), (4096, 11), (64 << 20, 100_000)])
def test_blocks_that_are_read(corpus: Path, expected: Summary, monkeypatch: pytest.MonkeyPatch, block_bytes: int, rows: int) -> None:
    monkeypatch.setattr("embermill.jobs.run.open_pool", open_inline_pool)
    assert inspect.signature(lines.line_blocks).parameters["block_bytes"].default == inspect.signature(lines.range_blocks).parameters["block_bytes"].default
    monkeypatch.setattr(lines.line_blocks, "__defaults__", (block_bytes,))
    monkeypatch.setattr(lines.range_blocks, "__defaults__", (block_bytes,))
    monkeypatch.setitem(reading.read_rows.__kwdefaults__, "batch_rows", rows)  # type: ignore[arg-type]
    require_equal(run(config(corpus, f"blocks-{block_bytes}", 1)), expected)
