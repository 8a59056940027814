"""What comes before the text of a chunk: the document's columns and the headings above it, counted before anything is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embermill.jobs.chunking.alphabet import BLANKS
from embermill.jobs.chunking.markdown import Heading
from embermill.jobs.chunking.measure import Measure
from embermill.jobs.chunking.units import UnitReader

END, BETWEEN = "\n\n", " > "


@dataclass(frozen=True)
class Prefix:
    """tokens: that it takes. dropped: tokens of the columns and headings that did not fit."""

    text: str = ""
    tokens: int = 0
    dropped: int = 0


NO_PREFIX = Prefix()


class Prefixes:
    """most: tokens that a prefix may take."""

    def __init__(self, measure: Measure, units: UnitReader, most: int) -> None:
        self._measure, self._units, self._most = measure, units, most
        self._empty = measure.count_one("")

    def fit(self, columns: Sequence[str], path: Sequence[str]) -> Prefix:
        """The outermost headings go first; then the columns are cut at a word."""
        whole = _join(columns, path)
        if not whole:
            return NO_PREFIX
        all_tokens = self._count(whole)
        text, tokens = whole, all_tokens
        while tokens > self._most and path:
            path = path[1:]
            text = _join(columns, path)
            tokens = self._count(text)
        if tokens > self._most:
            text = self._cut(_join(columns, ()).rstrip(BLANKS))
            tokens = self._count(text)
        return Prefix(text, tokens, max(0, all_tokens - tokens))

    def _cut(self, text: str) -> str:
        units = self._units.read(text)
        ends = [int(units.ends[unit - 1]) for unit in range(1, len(units)) if units.ranks[unit] > 0 and units.tokens[unit] <= self._most]
        while ends:
            found = text[: ends.pop()] + END
            if self._count(found) <= self._most:
                return found
        return ""

    def _count(self, text: str) -> int:
        return max(0, self._measure.count_one(text) - self._empty) if text else 0


def paths(headings: Sequence[Heading]) -> list[tuple[int, tuple[str, ...]]]:
    """(from this place on, the headings above). A chunk that begins with a heading has those above it alone: it says the heading itself."""
    open_ones = list[Heading]()
    found: list[tuple[int, tuple[str, ...]]] = [(0, ())]
    for heading in headings:
        while open_ones and open_ones[-1].level >= heading.level:
            open_ones.pop()
        found.append((heading.start, tuple(each.title for each in open_ones if each.title)))
        open_ones.append(heading)
        found.append((heading.end, tuple(each.title for each in open_ones if each.title)))
    return found


def _join(columns: Sequence[str], path: Sequence[str]) -> str:
    lines = [*(column for column in columns if column), *([BETWEEN.join(path)] if path else [])]
    return "\n".join(lines) + END if lines else ""
