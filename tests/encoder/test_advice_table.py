"""No message of the encoder advises anything that nobody has tried: see tests/jobs/test_advice_table.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.advice import messages, require_few_beyond, require_there
from tests.encoder.advice_table import TABLE

TESTS = Path(__file__).parent
ENCODER = TESTS.parents[1] / "encoder"


def all_messages() -> dict[str, str]:
    """Message -> its file."""
    found = dict[str, str]()
    for path in sorted(ENCODER.rglob("*.py")):
        found |= dict.fromkeys(messages(path.read_text(), raised_alone=False), path.relative_to(ENCODER).as_posix())
    return found


def test_every_message_that_advises_something_is_in_the_table_and_no_other() -> None:
    found = all_messages()
    missing = {message: file for message, file in found.items() if not any(words in message for words in TABLE)}
    assert not missing, f"write the test that does what these say, and name it in advice_table.py: {missing}"
    assert [words for words in TABLE if not any(words in message for message in found)] == []


@pytest.mark.parametrize("way", sorted({way for way in TABLE.values() if isinstance(way, str)}))
def test_the_test_is_there(way: str) -> None:
    require_there(TESTS, way)


def test_what_cannot_be_done_in_a_test_says_why() -> None:
    require_few_beyond(TABLE, 1 / 3)
