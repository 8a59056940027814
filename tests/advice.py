"""Which messages of the source advise something, and where a test that does it is named: for tests/jobs/advice_table.py and tests/encoder/advice_table.py."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple


class Beyond(NamedTuple):
    """Why no test can do it: it is for another machine, for a person's judgement, or it is no advice at all."""

    why: str


Way = str | Beyond
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


def require_there(tests: Path, way: str) -> None:
    """way: FILE::test, FILE::case of a table in it, or a whole FILE."""
    file, _, name = way.partition("::")
    source = (tests / file).read_text()
    assert f"def {name}(" in source or f'"{name}":' in source or not name


def require_few_beyond(table: Mapping[str, Way], share: float) -> None:
    beyond = [way for way in table.values() if isinstance(way, Beyond)]
    assert all(len(way.why.split()) > FEWEST_WORDS for way in beyond) and len(beyond) < share * len(table)
