"""No message advises anything that nobody has tried: each that is in the source stands in advice_table.py, with the test that does what it says."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from tests.advice import messages, require_few_beyond, require_there
from tests.jobs.advice_table import TABLE

TESTS = Path(__file__).parent
JOBS = TESTS.parents[1] / "jobs"
IN_WORDS = ("answers", "html_report", "first_configuration")  # files of `commands` whose words are for people, whether raised or not


@cache
def all_messages() -> dict[str, str]:
    """Message -> its file."""
    found = dict[str, str]()
    for path in sorted(JOBS.rglob("*.py")):
        room, name = path.relative_to(JOBS).parts[0], path.name
        words = messages(path.read_text(), raised_alone=room == "commands" and not name.startswith(IN_WORDS))
        found |= dict.fromkeys(words, path.relative_to(JOBS).as_posix())
    return found


def test_every_message_that_advises_something_is_in_the_table() -> None:
    missing = {message: file for message, file in all_messages().items() if not any(words in message for words in TABLE)}
    assert not missing, f"write the test that does what these say, and name it in advice_table.py: {missing}"


def test_the_table_has_no_message_that_is_gone() -> None:
    found = [*all_messages()]
    assert [words for words in TABLE if not any(words in message for message in found)] == []


@pytest.mark.parametrize("way", sorted({way for way in TABLE.values() if isinstance(way, str)}))
def test_the_test_is_there(way: str) -> None:
    require_there(TESTS, way)


def test_what_cannot_be_done_in_a_test_says_why() -> None:
    require_few_beyond(TABLE, 1 / 3)


def test_a_message_is_known_by_what_it_advises() -> None:
    source = '''
def check(name: str) -> None:
    """Run it again: a docstring is no message."""
    raise UsageError(f"{name}: it is gone: choose another output.uri")
    log.warning("it is red and it is round and nothing else")
'''
    assert [*messages(source, raised_alone=False)] == ["{}: it is gone: choose another output.uri"]
