"""Inline pools for runs and syncs, and the datasets that reports are about, made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.command_line import Answer
from tests.jobs.report import datasets
from tests.jobs.worked_on import inline_pools


@pytest.fixture
def inline() -> Iterator[None]:
    with inline_pools():
        yield


@pytest.fixture(scope="session")
def bad_rows(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    with inline_pools():
        answer = datasets.with_bad_rows(tmp_path_factory.mktemp("bad-rows"))
    assert answer.code == 0, answer.errors
    return answer


@pytest.fixture(scope="session")
def synced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Answer, Answer]:
    with inline_pools():
        ran, answer = datasets.synced(tmp_path_factory.mktemp("synced"))
    assert (ran.code, answer.code) == (0, 0), ran.errors + answer.errors
    return ran, answer


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path
