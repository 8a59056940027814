"""No message advises anything that nobody has tried: each that is in the source stands in advice_table.py, with the test that does what it says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.advice_table import TABLE, Beyond, Way

TESTS = Path(__file__).parent
JOBS = TESTS.parents[1] / "jobs"
BEING_BUILT = ("index", "export", "submit", "metrics")  # rooms of this week: their messages join the table when they are done
VERBS = (
    "run|use|set|add|move|choose|give|fix|restore|fetch|remove|raise|name|install|start|leave|put|free|embed|rename|split|drop|wait|write|keep|end|declare|"
    "make|copy|look|see|ask|submit|flatten|let"
)
ADVISES = re.compile(rf"(?:^|[:;,.!?(] |\bor |\band |\bthen )(?:{VERBS})\b (?!of\b|is\b|are\b)|`embermill [a-z]+", re.IGNORECASE | re.MULTILINE)
FEWEST_WORDS = 4


def text_of(node: ast.AST) -> str | None:
    """A string as it is in the source; {} for what is filled in."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def messages(source: str, *, raised_alone: bool) -> Iterator[str]:
    """Strings that advise something, less docstrings. raised_alone: those of `raise` statements; all else are words of --help."""
    tree = ast.parse(source)
    passed_over = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    passed_over |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node) if part is not node}
    roots: list[ast.AST] = [node for node in ast.walk(tree) if isinstance(node, ast.Raise)] if raised_alone else [tree]
    for root in roots:
        for node in ast.walk(root):
            text = None if id(node) in passed_over else text_of(node)
            if text is not None and len(text.split()) >= FEWEST_WORDS and ADVISES.search(text):
                yield text


def all_messages() -> dict[str, str]:
    """Message -> its file."""
    found = dict[str, str]()
    for path in sorted(JOBS.rglob("*.py")):
        room, name = path.relative_to(JOBS).parts[0], path.name
        if room not in BEING_BUILT and name != "cluster.py":
            words = messages(path.read_text(), raised_alone=room == "commands" and not name.startswith("report"))
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
    """FILE::test, FILE::case of a table in it, or a whole FILE."""
    file, _, name = way.partition("::")
    source = (TESTS / file).read_text()
    assert f"def {name}(" in source or f'"{name}":' in source or not name


def test_what_cannot_be_done_in_a_test_says_why() -> None:
    ways: list[Way] = [*TABLE.values()]
    assert all(len(way.why.split()) > FEWEST_WORDS for way in ways if isinstance(way, Beyond)) and sum(isinstance(way, Beyond) for way in ways) < len(ways) / 3


def test_a_message_is_known_by_what_it_advises() -> None:
    source = '''
def check(name: str) -> None:
    """Run it again: a docstring is no message."""
    raise UsageError(f"{name}: it is gone: choose another output.uri")
    log.warning("it is red and it is round and nothing else")
'''
    assert [*messages(source, raised_alone=False)] == ["{}: it is gone: choose another output.uri"]
