"""A pool that is begun before the look at corpus and model is over: used if it is what is needed then, and gone in any case."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from embermill.jobs.config import JobConfig
from embermill.jobs.plan.files import Plan
from embermill.jobs.pool.inline import InlinePool
from embermill.jobs.pool.opening import EarlyPool, OpenPool
from embermill.jobs.pool.placement import Placement
from embermill.jobs.storage import Folder, open_folder
from tests.jobs.plan.plans import job, lines, planned


class Opener:
    """Takes down what is opened, for which plan, and when that is closed, with which error."""

    def __init__(self) -> None:
        self.said: list[str] = []

    @contextlib.contextmanager
    def open(self, config: JobConfig, folder: Folder, plan: Plan | None) -> Iterator[OpenPool]:
        kind = "new" if plan is None else "planned"
        self.said.append(f"open {kind}")
        try:
            yield OpenPool(InlinePool(lambda: pytest.fail("no worker is wanted")), Placement("cpu", 1, 1))
        except ValueError as error:
            self.said.append(str(error))
            raise
        finally:
            self.said.append(f"close {kind}")


@pytest.fixture
def opener() -> Opener:
    return Opener()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return open_folder(str(tmp_path / "out"))


@pytest.fixture
def config(tmp_path: Path) -> JobConfig:
    lines(tmp_path / "corpus/a.jsonl", {"text": "one"})
    return job(tmp_path)


def test_what_was_begun_is_what_is_opened_and_goes_with_it(opener: Opener, folder: Folder, config: JobConfig) -> None:
    with EarlyPool(opener.open) as early:
        early.begin(config, folder)
        assert opener.said == ["open new"]
        with early.open(config, folder, None):
            assert opener.said == ["open new"]
        assert opener.said == ["open new", "close new"], "before whatever else the run does"
        with early.open(config, folder, None):
            pass
    assert opener.said == ["open new", "close new"] * 2


def test_what_was_begun_is_gone_before_another_is_opened(opener: Opener, folder: Folder, config: JobConfig) -> None:
    """Another run has written the plan meanwhile: what it says of workers counts."""
    with EarlyPool(opener.open) as early:
        early.begin(config, folder)
        with early.open(config, folder, planned(config)):
            assert opener.said == ["open new", "close new", "open planned"]
    assert opener.said[-1] == "close planned" and len(opener.said) == 4


def test_what_is_never_needed_is_gone_at_the_end_and_hears_why(opener: Opener, folder: Folder, config: JobConfig) -> None:
    with pytest.raises(ValueError, match="no such model"), EarlyPool(opener.open) as early:
        early.begin(config, folder)
        raise ValueError("no such model")
    assert opener.said == ["open new", "no such model", "close new"]


def test_an_error_of_who_uses_it_reaches_it_once(opener: Opener, folder: Folder, config: JobConfig) -> None:
    with pytest.raises(ValueError, match="interrupted"), EarlyPool(opener.open) as early:
        early.begin(config, folder)
        with early.open(config, folder, None):
            raise ValueError("interrupted")
    assert opener.said == ["open new", "interrupted", "close new"]


def test_a_cluster_is_not_joined_before_it_is_needed(opener: Opener, folder: Folder, tmp_path: Path) -> None:
    joined = job(tmp_path, ray={"address": "auto"})
    with EarlyPool(opener.open) as early:
        early.begin(joined, folder)
        assert opener.said == []
        with early.open(joined, folder, None):
            assert opener.said == ["open new"]
