"""Inline pools for `sync`, and a corpus to change."""

from __future__ import annotations

from pathlib import Path

import pytest

from embermill.jobs.run import run
from tests.jobs.command_line import open_inline_pool
from tests.jobs.sync.corpus import Corpus, TellingEngine, configure, row


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.run.open_pool", open_inline_pool)
    monkeypatch.setattr("embermill.jobs.sync.stages.open_pool", open_inline_pool)
    TellingEngine.given = []


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path / "corpus")


@pytest.fixture
def embedded(tmp_path: Path, corpus: Corpus) -> Corpus:
    """Two files of 20 rows, embedded."""
    for name in "ab":
        corpus.write(f"{name}.jsonl", [row(f"{name}{n}", f"text {name} {n}") for n in range(20)])
    run(configure(tmp_path))
    TellingEngine.taken()
    return corpus
