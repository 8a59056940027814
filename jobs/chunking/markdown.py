"""Headings, fences and front matter of a Markdown document, as CommonMark has them, with their places in the text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from embermill.jobs.chunking.front_matter import find_front_matter

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
    """fences: (start, end) of fenced code and of front matter, in code points. named: the title that front matter gives; None where it gives none."""

    headings: tuple[Heading, ...] = ()
    fences: tuple[tuple[int, int], ...] = ()
    named: str | None = None

    @property
    def title(self) -> str | None:
        """That of the front matter, else the first heading's text; None where there is none, or it is empty."""
        return self.named or next((heading.title for heading in self.headings if heading.title), None)


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt  # here: every command imports this file, and few meet Markdown

    parser = MarkdownIt("commonmark")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


def outline(text: str, *, front_matter: bool = False) -> Outline:
    """front_matter: whether a block of data at its beginning is told from the text (front_matter.py); without, CommonMark makes a heading of it."""
    matter = find_front_matter(text) if front_matter else None
    if matter is None:
        return Outline(*_blocks(text, 0))
    headings, fences = _blocks(text[matter.end :], matter.end)
    return Outline(headings, ((0, matter.end), *fences), _one_line(matter.title or "") or None)


def _blocks(text: str, offset: int) -> tuple[tuple[Heading, ...], tuple[tuple[int, int], ...]]:
    """Headings and fences. offset: of the text in the document."""
    starts = [0, *(found.end() for found in _LINE_END.finditer(text)), len(text)]
    tokens = _parser().parse(text)
    headings, fences = list[Heading](), list[tuple[int, int]]()
    for place, token in enumerate(tokens):
        if token.map is None:
            continue
        first, end = (offset + starts[min(line, len(starts) - 1)] for line in token.map)
        if token.type == "heading_open":
            headings.append(Heading(first, end, int(token.tag[1:]), _one_line(tokens[place + 1].content)))
        elif token.type == "fence":
            fences.append((first, end))
    return tuple(headings), tuple(fences)


def _one_line(title: str) -> str:
    return " ".join(word for word in title.replace("\n", " ").split(" ") if word)
