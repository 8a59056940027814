"""What a model's files say of cutting its vectors to their first dimensions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embermill.encoder.matryoshka import CARD_BYTES, trained_dimensions


@pytest.mark.parametrize(
    ("config", "card", "expected"),
    [
        ({"matryoshka_dimensions": [512, 64, 256]}, None, (64, 256, 512)),
        ({"is_matryoshka": True}, None, ()),
        ({}, "---\ntags:\n- loss:MatryoshkaLoss\n---\n# A model", ()),
        ({}, "It supports **matryoshka** truncation.", ()),
        ({"matryoshka_dimensions": [256]}, "Matryoshka", (256,)),
        ({"is_matryoshka": False}, "# A model", None),
        ({"matryoshka_dimensions": "all"}, None, None),
        ({"matryoshka_dimensions": [0, True]}, None, None),
        ([], None, None),
        (None, None, None),
        ({}, " " * CARD_BYTES + "matryoshka", None),
    ],
)
def test_what_the_files_say(tmp_path: Path, config: object, card: str | None, expected: tuple[int, ...] | None) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    assert trained_dimensions(tmp_path) == expected


def test_files_that_cannot_be_read_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"{\xff")
    (tmp_path / "README.md").mkdir()
    assert trained_dimensions(tmp_path) is None
