"""One bit flipped in every file of a dataset, a sample of bits: `verify` names the file and exits 3. tests/bench/flip_bits.py flips all of them."""

from __future__ import annotations

import random
from pathlib import Path

from tests.bench.flip_bits import failures, files_of, make_dataset
from tests.jobs import command_line


def test_every_file(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    names = files_of(dataset)
    assert {name.split("/")[0] for name in names} == {"data", "quarantine", "_embermill"} and len(names) > 12
    answers = [answer for name in names for answer in failures(dataset, name, 1 << 17, rng)]
    assert len(answers) >= len(names) and [answer for answer in answers if answer] == [], f"seed {seed}"
    assert command_line.command("verify", str(dataset)).code == 0
