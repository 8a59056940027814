"""A text as units: a word, or a part of a long one, with the blanks before it. Each has its tokens, and the rank of the boundary before it.

Counts of units are remembered: a corpus has far fewer words than it has places for them, so a text is cut at the pace of a dictionary.
Their sum is near what the tokenizer makes of the whole, and no more than that: what is cut by it is counted again.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from embermill.jobs.chunking.alphabet import BLANKS, CLOSERS, FULL_WIDTH_ENDS, LINE_ENDS, MARK_CLASS, SENTENCE_ENDS, character_class
from embermill.jobs.chunking.measure import Measure

HEADING, PARAGRAPH, LINE, SENTENCE, BLANK, INSIDE = 5, 4, 3, 2, 1, 0
UNIT_POINTS = 24  # code points of a unit at most, marks aside: a longer word is several
MOST_REMEMBERED = 1 << 17
LONGEST_REMEMBERED = 64
ANCHOR = "."

_B, _F = character_class(BLANKS), character_class(FULL_WIDTH_ENDS)
_LETTER, _MARKS = f"[^{_B}{_F}]", f"(?:[{MARK_CLASS}]|(?<=\\u200d)[^{_B}])"
UNIT = re.compile(f"[{_B}]*(?:{_LETTER}{{1,{UNIT_POINTS}}}{_MARKS}{{0,{UNIT_POINTS}}}[{_F}]{{0,{UNIT_POINTS}}}|[{_F}]{{1,{UNIT_POINTS}}})")
_LINE_END = re.compile(f"\\r\\n|[{character_class(LINE_ENDS)}]")
_P = r"!-/:-@\[-`{-~"  # ASCII punctuation: tokenizers cut there, so what lies between is counted once and known for good
ATOM = re.compile(f"[{_B}]*(?:[{_P}]+|[^{_B}{_P}]+)")

_PLAIN_BLANKS = " \t\n\r"
_PLAIN = re.compile("[\t\n\r -~]*")  # what Measure.adds_up is about

_PUNCTUATION = re.compile(f"[{_P}]")

# What is remembered of a unit: tokens, blanks before it, whether it is plain, whether a word is open at its front and at its end, how it ends, its rank.
_RANK_BITS, _END_BITS, _PLAIN_BITS, _BLANK_BITS = 3, 2, 3, 30
_PLAIN_UNIT, _OPEN_FRONT, _OPEN_END = 1, 2, 4
_LOW_BITS = _RANK_BITS + _END_BITS + _PLAIN_BITS
_ENDS_SENTENCE, _ENDS_ANYWHERE = 1, 2


@dataclass(frozen=True)
class Units:
    """U units, as what Python searches fastest. ends: [U] code points at which each ends; it begins where the one before ended.

    blank_ends: [U] where the blanks at its front end. tokens: [U + 1] of all units before each. ranks: [U] of the boundary before each.
    doubtful: [U + 1] how many units before each may not add up: they are not plain, or go on in the middle of a word.
    """

    ends: list[int]
    blank_ends: list[int]
    tokens: list[int]
    ranks: bytearray
    doubtful: list[int]

    def __len__(self) -> int:
        return len(self.ends)

    def at(self, point: int) -> int:
        """The first unit whose text begins at or after that place."""
        return bisect_left(self.blank_ends, point)

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Code points of units [first, last), without the blanks before them."""
        return self.blank_ends[first], self.ends[last - 1]

    def add_up(self, first: int, last: int) -> bool:
        """Whether the tokens of units [first, last) as one text are the sum, where the measure adds up."""
        return self.doubtful[last] == self.doubtful[first]

    def longest_run(self) -> int:
        """Code points without a blank between them, at most."""
        if not self.ends:
            return 0
        ends, begins = np.array(self.ends), np.array(self.blank_ends)
        runs = np.flatnonzero(begins > np.concatenate([[-1], ends[:-1]]))
        return int((np.concatenate([ends[runs[1:] - 1], ends[-1:]]) - begins[runs]).max())


class UnitReader:
    """Cuts texts to units; one for each measure."""

    def __init__(self, measure: Measure) -> None:
        self._measure = measure
        self._known: dict[str, int] = {}
        self._atoms: dict[str, int] = {}
        self._empty, self._anchored = (int(count) for count in measure.count(["", ANCHOR]))

    def read(self, text: str, breaks: Sequence[int] = ()) -> Units:
        """breaks: places at which a unit must end."""
        pieces = _split(text, breaks)
        return _units(pieces, self._values(pieces))

    def _values(self, pieces: list[str]) -> np.ndarray:
        if len(self._known) > MOST_REMEMBERED:
            self._known.clear()
        if missing := set(pieces).difference(self._known):
            self._describe(missing)
        values = np.fromiter(map(self._known.__getitem__, pieces), np.int64, len(pieces))
        for unit in missing:
            if len(unit) > LONGEST_REMEMBERED:
                del self._known[unit]
        return values

    def _describe(self, units: set[str]) -> None:
        plain = {unit: _PLAIN.fullmatch(unit) is not None for unit in units}
        bare = self._measure.adds_up  # blanks are no tokens then, and a word is counted once, with or without them
        atoms = {unit: ATOM.findall(unit.lstrip(_PLAIN_BLANKS) if bare and plain[unit] else unit) for unit in units}
        if len(self._atoms) > MOST_REMEMBERED:
            self._atoms.clear()
        if missing := {atom for found in atoms.values() for atom in found}.difference(self._atoms):
            self._count(sorted(missing))
        for unit, found in atoms.items():
            tokens = sum(map(self._atoms.__getitem__, found))
            blanks = len(unit) - len(unit.lstrip(BLANKS))
            front = _OPEN_FRONT * (not blanks and not _PUNCTUATION.match(unit))
            open_word = plain[unit] * _PLAIN_UNIT | front | _OPEN_END * (not _PUNCTUATION.match(unit[-1]))
            marks = open_word << _RANK_BITS + _END_BITS | _ending(unit) << _RANK_BITS
            self._known[unit] = (tokens << _BLANK_BITS | blanks) << _LOW_BITS | marks | _rank(unit[:blanks])

    def _count(self, atoms: list[str]) -> None:
        """Of one that follows blanks the tokens are those after another text: some tokenizers tell blanks at a text's front from others."""
        follows = [atom[0] in BLANKS for atom in atoms]
        counts = self._measure.count([ANCHOR + atom if blank else atom for atom, blank in zip(atoms, follows, strict=True)])
        bases = (self._empty, self._anchored)
        self._atoms.update((atom, max(0, int(count) - bases[blank])) for atom, count, blank in zip(atoms, counts, follows, strict=True))


def _split(text: str, breaks: Sequence[int]) -> list[str]:
    if not breaks:
        return UNIT.findall(text)
    places = [0, *breaks, len(text)]
    return [unit for start, end in pairwise(places) for unit in UNIT.findall(text[start:end])]


def _rank(blanks: str) -> int:
    if not blanks:
        return INSIDE
    lines = len(_LINE_END.findall(blanks))
    return PARAGRAPH if lines > 1 else LINE if lines else BLANK


def _ending(unit: str) -> int:
    if unit[-1] in FULL_WIDTH_ENDS:
        return _ENDS_ANYWHERE
    inner = unit.rstrip(CLOSERS)
    return _ENDS_SENTENCE if inner and inner[-1] in SENTENCE_ENDS else 0


def _units(pieces: list[str], values: np.ndarray) -> Units:
    ends = np.cumsum(np.fromiter(map(len, pieces), np.int64, len(pieces)))
    ranks = values & ((1 << _RANK_BITS) - 1)
    endings = (values >> _RANK_BITS) & ((1 << _END_BITS) - 1)
    rest = values >> _LOW_BITS
    words = values >> (_RANK_BITS + _END_BITS)
    doubtful = words & _PLAIN_UNIT == 0
    doubtful[1:] |= (words[1:] & _OPEN_FRONT != 0) & (words[:-1] & _OPEN_END != 0)
    starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    before = np.concatenate([[0], endings[:-1]]) if len(endings) else endings
    ends_sentence = (before == _ENDS_ANYWHERE) | ((before == _ENDS_SENTENCE) & (ranks > INSIDE))
    ranks = np.where(ends_sentence, np.maximum(ranks, SENTENCE), ranks)
    tokens = np.concatenate([[0], np.cumsum(rest >> _BLANK_BITS)])
    blank_ends = starts + (rest & ((1 << _BLANK_BITS) - 1))
    return Units(ends.tolist(), blank_ends.tolist(), tokens.tolist(), bytearray(ranks.astype(np.uint8).tobytes()), _sums(doubtful))


def _sums(marks: np.ndarray) -> list[int]:
    """[U + 1] of all marks before each."""
    found: list[int] = np.concatenate([[0], np.cumsum(marks, dtype=np.int64)]).tolist()
    return found
