"""A short, seeded run of the fuzzer (tests/bench/fuzz_weights.py runs it long), and every seed that ever found something."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.encoder.weights.mutations import mutate, outcome
from tests.encoder.weights.tiny_bert import every_kind

FILES = every_kind()
FOUND: list[tuple[str, int]] = []  # (file, seed) that once did something else than being read or refused


@pytest.mark.parametrize("name", FILES)
def test_undamaged_files_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    assert outcome(tmp_path / name) == "read"


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_are_read_or_refused(tmp_path: Path, name: str) -> None:
    outcomes = set()
    for seed in range(100):
        (tmp_path / name).write_bytes(mutate(random.Random(seed), name, FILES[name]))
        outcomes.add(outcome(tmp_path / name))
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize("name", FILES)
def test_every_truncation_is_refused(tmp_path: Path, name: str) -> None:
    """Cut anywhere, a file is never taken for a smaller one; but for the two bytes of `_b`, which old eras do not have."""
    whole = FILES[name]
    for size in (*range(0, 400, 7), *range(400, len(whole), 97), len(whole) - 1):
        (tmp_path / name).write_bytes(whole[:size])
        assert outcome(tmp_path / name) == "refused", size


def test_seeds_that_once_found_something(tmp_path: Path) -> None:
    for name, seed in FOUND:
        (tmp_path / name).write_bytes(mutate(random.Random(seed), name, FILES[name]))
        assert outcome(tmp_path / name) in ("read", "refused"), (name, seed)
