"""A short, seeded run of the fuzzer (tests/bench/fuzz_job.py runs it long), and every seed that ever found something."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs.command_line import make_dataset
from tests.jobs.hostile import OUTCOMES, Subject, outcome, try_one, write
from tests.jobs.hostile_subjects import subjects

FOUND = [("parquet", 100735)]  # (subject, seed) of what once did something else than being read or refused
SEEDS = 350


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Subject], dict[str, Path]]:
    where = tmp_path_factory.mktemp("hostile")
    kinds = subjects(where, make_dataset(where / "made"))
    folders = {kind: where / kind for kind in kinds}
    for kind, subject in kinds.items():
        write(subject, folders[kind])
    return kinds, folders


def test_what_is_not_damaged_is_read(hostile: tuple[dict[str, Subject], dict[str, Path]]) -> None:
    kinds, folders = hostile
    assert {kind: outcome(subject, folders[kind]) for kind, subject in kinds.items()} == dict.fromkeys(kinds, "read")


def test_what_is_damaged_is_read_or_refused(hostile: tuple[dict[str, Subject], dict[str, Path]]) -> None:
    assert {try_one(*hostile, seed)[1] for seed in range(SEEDS)} == set(OUTCOMES)


@pytest.mark.parametrize(("kind", "seed"), FOUND)
def test_what_was_found(hostile: tuple[dict[str, Subject], dict[str, Path]], kind: str, seed: int) -> None:
    assert try_one(*hostile, seed, kind)[1] in OUTCOMES
