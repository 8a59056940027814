"""One bit flipped in every file of a dataset, a sample of bits: `verify` names the file and exits 3, and `repair` makes it whole.

tests/bench/flip_bits.py flips all of them.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.bench.flip_bits import DATASETS, failures, files_of, make_dataset, repairable, unrepaired
from tests.jobs import command_line

SAMPLE, REPAIRED = 10, 3  # files of a dataset that much was done to


def test_every_file(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    names = files_of(dataset)
    assert {name.split("/")[0] for name in names} == {"data", "quarantine", "_embermill"} and len(names) > 12
    answers = [answer for name in names for answer in failures(dataset, name, 1 << 17, rng)]
    assert len(answers) >= len(names) and [answer for answer in answers if answer] == [], f"seed {seed}"
    assert command_line.command("verify", str(dataset)).code == 0


@pytest.mark.parametrize("kind", ["redriven", "versions"])
def test_files_of_datasets_that_much_was_done_to(tmp_path: Path, kind: str) -> None:
    dataset = DATASETS[kind](tmp_path)
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    wrong = [answer for name in rng.sample(files_of(dataset), SAMPLE) for answer in failures(dataset, name, 1 << 17, rng) if answer]
    wrong += [answer for name in rng.sample(repairable(kind, dataset), REPAIRED) if (answer := unrepaired(dataset, name, rng))]
    assert wrong == [], f"seed {seed}"
