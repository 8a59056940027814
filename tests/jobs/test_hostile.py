"""A short, seeded run of the fuzzer (tests/bench/fuzz_job.py runs it long), and every seed that ever found something."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs.command_line import make_dataset
from tests.jobs.hostile import OUTCOMES, Subject, outcome, try_one, write
from tests.jobs.hostile_subjects import subjects
from tests.jobs.worked_on import make_changed

FOUND = [  # (subject, seed) of what once did something else than being read or refused
    ("parquet", 100735), ("configuration", 1007481), ("edited model", 1004286), ("edited model", 1007466), ("family", 1013067), ("family", 1007007),
    ("family", 1010147), ("family", 1034107), ("tokenizer", 1000799), ("tokenizer", 1014779), ("tokenizer", 1023339), ("tokenizer", 1050059),
    ("tokenizer", 1051719), ("tokenizer", 1055339), ("forged, read", 1000948), ("forged, read", 1001948), ("forged, read", 1003968), ("forged, read", 1013688),
    ("forged, run", 1000872), ("forged, run", 1008412), ("forged, redriven", 389), ("forged, resumed", 1014671), ("forged, repaired", 1000890),
    ("forged, read", 3004888), ("forged, run", 3008112), ("forged, run", 3035592), ("family", 3014707),
    ("forged, repaired", 1001130), ("forged, repaired", 1026670),
    ("family", 11094487), ("forged, redriven", 11110309), ("versions, rolled back", 12002008), ("versions, erased", 12003240), ("versions, erased", 12004830),
    ("tokenizer", 7027839), ("tokenizer", 7076459), ("tokenizer", 7118119), ("tokenizer", 7134299), ("tokenizer", 7143599),
    ("forged, run", 7021272), ("forged, run", 7039532), ("forged, run", 7047312), ("forged, run", 7141572), ("forged, run", 7154532),
    ("forged, repaired", 7055290), ("family", 7195707),
]  # fmt: skip
SEEDS = 200


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Subject], dict[str, Path]]:
    where = tmp_path_factory.mktemp("hostile")
    kinds = subjects(where, make_dataset(where / "made"), make_changed(where / "versions"))
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
