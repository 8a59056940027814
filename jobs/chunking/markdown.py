"""Headings and fences of a Markdown document, as CommonMark has them, with their places in the text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_LINE_END = re.compile("\r\n|\n|\r")


@dataclass(frozen=True)
class Heading:
    """start, end: of its lines, in code points. level: 1 to 6."""

    start: int
    end: int
    level: int
    title: str


@dataclass(frozen=True)
class Outline:
    """fences: (start, end) of fenced code, in code points."""

    headings: tuple[Heading, ...] = ()
    fences: tuple[tuple[int, int], ...] = ()

    @property
    def title(self) -> str | None:
        """The first heading's text; None where there is none, or it is empty."""
        return next((heading.title for heading in self.headings if heading.title), None)


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt  # here: every command imports this file, and few meet Markdown

    parser = MarkdownIt("commonmark")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


def outline(text: str) -> Outline:
    starts = [0, *(found.end() for found in _LINE_END.finditer(text)), len(text)]
    tokens = _parser().parse(text)
    headings, fences = list[Heading](), list[tuple[int, int]]()
    for place, token in enumerate(tokens):
        if token.map is None:
            continue
        first, end = (starts[min(line, len(starts) - 1)] for line in token.map)
        if token.type == "heading_open":
            headings.append(Heading(first, end, int(token.tag[1:]), _one_line(tokens[place + 1].content)))
        elif token.type == "fence":
            fences.append((first, end))
    return Outline(tuple(headings), tuple(fences))


def _one_line(title: str) -> str:
    return " ".join(word for word in title.replace("\n", " ").split(" ") if word)
