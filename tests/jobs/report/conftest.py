"""Inline pools for runs and syncs, and the datasets that reports are about, made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from tests.jobs.command_line import Answer, open_inline_pool
from tests.jobs.report import datasets


@pytest.fixture(scope="session")
def inline() -> Iterator[None]:
    with mock.patch("embermill.jobs.run.open_pool", open_inline_pool), mock.patch("embermill.jobs.sync.stages.open_pool", open_inline_pool):
        yield


@pytest.fixture(scope="session")
def bad_rows(inline: None, tmp_path_factory: pytest.TempPathFactory) -> Answer:
    answer = datasets.with_bad_rows(tmp_path_factory.mktemp("bad-rows"))
    assert answer.code == 0, answer.errors
    return answer


@pytest.fixture(scope="session")
def synced(inline: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Answer, Answer]:
    ran, answer = datasets.synced(tmp_path_factory.mktemp("synced"))
    assert (ran.code, answer.code) == (0, 0), ran.errors + answer.errors
    return ran, answer


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path
