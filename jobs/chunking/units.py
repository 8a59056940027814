"""A text as units: a word, or a part of a long one, with the blanks before it. Each has its tokens, and the rank of the boundary before it.

Counts of units are remembered: a corpus has far fewer words than it has places for them, so a text is cut at the pace of a dictionary.
Their sum is near what the tokenizer makes of the whole, and no more than that: what is cut by it is counted again.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from embermill.jobs.chunking.alphabet import BLANKS, CLOSERS, FULL_WIDTH_ENDS, LINE_ENDS, MARK_CLASS, SENTENCE_ENDS, character_class
from embermill.jobs.chunking.long_words import MOST_POINTS
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
_WORD = re.compile("[0-9A-Za-z]+")

# What is remembered of a unit: tokens, blanks before it, whether it is plain, whether a word is open at its front and at its end, how it ends, its rank.
_RANK_BITS, _END_BITS, _PLAIN_BITS, _BLANK_BITS = 3, 2, 3, 30
_PLAIN_UNIT, _OPEN_FRONT, _OPEN_END = 1, 2, 4
_LOW_BITS = _RANK_BITS + _END_BITS + _PLAIN_BITS
_ENDS_SENTENCE, _ENDS_ANYWHERE = 1, 2
_MISSED = -1


@dataclass(frozen=True)
class Units:
    """U units, as what Python searches fastest, and views of arrays: an object for each number takes time and memory.

    ends: [U] code points at which each ends; it begins where the one before ended. blank_ends: [U] where the blanks at its front end.
    tokens: [U + 1] of all units before each. ranks: [U] of the boundary before each.
    other: [U + 1] how many units before each are not plain. Where the measure adds up, goes_on: [U + 1] 1 for each that begins in the middle of a word,
    and more: [U + 1] tokens that such words have as wholes, beyond what their parts have, of all before each; one counts where it ends.
    long_runs: (start, end) in code points of all that has no blank and more than MOST_POINTS code points.
    """

    ends: memoryview[int]
    blank_ends: memoryview[int]
    tokens: memoryview[int]
    ranks: bytearray
    other: memoryview[int]
    goes_on: bytearray
    more: memoryview[int]
    long_runs: list[tuple[int, int]]

    def __len__(self) -> int:
        return len(self.ends)

    def at(self, point: int) -> int:
        """The first unit whose text begins at or after that place."""
        return bisect_left(self.blank_ends, point)

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Code points of units [first, last), without the blanks before them."""
        return self.blank_ends[first], self.ends[last - 1]

    def piece(self, text: str, unit: int) -> str:
        """text: that they are of."""
        return text[self.ends[unit - 1] if unit else 0 : self.ends[unit]]


class _Known(dict[str, int]):
    """What is remembered of units. Of one that is not it says _MISSED, and takes it down: cheaper than to look for those first."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def __missing__(self, unit: str) -> int:
        self.missed.append(unit)
        return _MISSED


class UnitReader:
    """Cuts texts to units; one for each measure."""

    def __init__(self, measure: Measure) -> None:
        self._measure = measure
        self._known = _Known()
        self._atoms: dict[str, int] = {}
        self._long_atoms: list[str] = []
        self._empty, self._anchored = (int(count) for count in measure.count(["", ANCHOR]))

    def read(self, text: str, breaks: Sequence[int] = ()) -> Units:
        """breaks: places at which a unit must end."""
        self._forget()
        pieces = _split(text, breaks)
        values = self._values(pieces)
        more = np.zeros(len(pieces), np.int64)
        goes_on = _going_on(values) if self._measure.adds_up else np.zeros(len(pieces), bool)
        for unit, tokens in self._joined(pieces, np.flatnonzero(goes_on).tolist()):
            more[unit] = tokens
        return _units(pieces, values, goes_on, more)

    def most_tokens(self, text: str, units: Units, spans: Sequence[tuple[int, int]]) -> list[int | None]:
        """What units [first, last) of the text take as one text at most, for each span; None where only counting would tell. Where the measure adds up."""
        plain = [units.other[last] == units.other[first] for first, last in spans]
        torn = [[*_torn(text, units, *span)] if known else [] for span, known in zip(spans, plain, strict=True)]
        self._count_missing({part for words in torn for _, parts in words for part in (*parts, "".join(parts))})
        sums = (units.tokens[last] - units.tokens[first] + units.more[last] - units.more[first + 1] for first, last in spans)
        more = (sum(self._more(parts) - counted for counted, parts in words) for words in torn)
        return [total + extra if known else None for total, extra, known in zip(sums, more, plain, strict=True)]

    def _more(self, parts: Sequence[str]) -> int:
        """Tokens that a word has as a whole, beyond those of its parts. All of them were counted."""
        return self._atoms["".join(parts)] - sum(map(self._atoms.__getitem__, parts))

    def _joined(self, pieces: list[str], places: list[int]) -> Iterator[tuple[int, int]]:
        """Words that units end in the middle of: the unit that ends each, and the tokens that it has beyond those of its parts. places: where they go on."""
        words = [*_words(pieces, places)]
        self._count_missing({text for _, parts in words for text in (*parts, "".join(parts))})
        for unit, parts in words:
            yield unit, self._more(parts)

    def _forget(self) -> None:
        """Between texts alone: what is asked for again within one would be counted again, and the more of it the longer it is."""
        for known in (self._known, self._atoms):
            if len(known) > MOST_REMEMBERED:
                known.clear()
        for atom in self._long_atoms:
            self._atoms.pop(atom, None)
        self._long_atoms.clear()

    def _values(self, pieces: list[str]) -> np.ndarray:
        values = np.fromiter(map(self._known.__getitem__, pieces), np.int64, len(pieces))
        if missing := {*self._known.missed}:
            self._known.missed.clear()
            self._describe(missing)
            places = np.flatnonzero(values == _MISSED).tolist()
            values[places] = [self._known[pieces[place]] for place in places]
            for unit in missing:
                if len(unit) > LONGEST_REMEMBERED:
                    del self._known[unit]
        return values

    def _describe(self, units: set[str]) -> None:
        plain = {unit: _PLAIN.fullmatch(unit) is not None for unit in units}
        bare = self._measure.adds_up  # blanks are no tokens then, and a word is counted once, with or without them
        atoms = {unit: ATOM.findall(unit.lstrip(_PLAIN_BLANKS) if bare and plain[unit] else unit) for unit in units}
        self._count_missing({atom for found in atoms.values() for atom in found})
        for unit, found in atoms.items():
            tokens = sum(map(self._atoms.__getitem__, found))
            blanks = len(unit) - len(unit.lstrip(BLANKS))
            front = _OPEN_FRONT * (not blanks and not _PUNCTUATION.match(unit))
            open_word = plain[unit] * _PLAIN_UNIT | front | _OPEN_END * (not _PUNCTUATION.match(unit[-1]))
            marks = open_word << _RANK_BITS + _END_BITS | _ending(unit) << _RANK_BITS
            self._known[unit] = (tokens << _BLANK_BITS | blanks) << _LOW_BITS | marks | _rank(unit[:blanks])

    def _count_missing(self, atoms: set[str]) -> None:
        if missing := atoms.difference(self._atoms):
            self._long_atoms += [atom for atom in missing if len(atom) > LONGEST_REMEMBERED]
            self._count(sorted(missing))

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


def _going_on(values: np.ndarray) -> np.ndarray:
    """[U] bool: whether each begins in the middle of a word, that it and the one before it hold plain letters of."""
    words = values >> (_RANK_BITS + _END_BITS)
    found: np.ndarray = words & _PLAIN_UNIT != 0
    found[1:] &= (words[1:] & _OPEN_FRONT != 0) & (words[:-1] & (_PLAIN_UNIT | _OPEN_END) == _PLAIN_UNIT | _OPEN_END)
    found[:1] = False
    return found


def _words(pieces: list[str], places: list[int]) -> Iterator[tuple[int, list[str]]]:
    """The unit that ends each word, and its parts."""
    at = 0
    while at < len(places):
        unit = places[at]
        parts = [_last_word(pieces[unit - 1]), _first_word(pieces[unit])]
        while at + 1 < len(places) and places[at + 1] == unit + 1 and parts[-1] == pieces[unit]:
            at, unit = at + 1, unit + 1
            parts.append(_first_word(pieces[unit]))
        yield unit, parts
        at += 1


def _torn(text: str, units: Units, first: int, last: int) -> Iterator[tuple[int, list[str]]]:
    """Parts, two or more, of words at either end of the span that go on outside of it, and what Units.more says for each within the span."""
    end = first
    if units.goes_on[first]:
        parts = [_first_word(piece := units.piece(text, first))]
        while parts[-1] == piece and end + 1 < last and units.goes_on[end + 1]:
            end += 1
            parts.append(_first_word(piece := units.piece(text, end)))
        if len(parts) > 1:
            yield units.more[end + 1] - units.more[first + 1], parts
        if end == last - 1 and parts[-1] == piece:
            return  # all of the span is within one word
    if units.goes_on[last]:
        begin = last - 1
        parts = [_last_word(piece := units.piece(text, begin))]
        while parts[0] == piece and begin > first and units.goes_on[begin]:
            begin -= 1
            parts.insert(0, _last_word(piece := units.piece(text, begin)))
        if len(parts) > 1:
            yield 0, parts


def _first_word(unit: str) -> str:
    found = _WORD.match(unit)
    assert found is not None
    return found[0]


def _last_word(unit: str) -> str:
    return _WORD.findall(unit)[-1]  # type: ignore[no-any-return]


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


def _units(pieces: list[str], values: np.ndarray, goes_on: np.ndarray, more: np.ndarray) -> Units:
    ends = np.cumsum(np.fromiter(map(len, pieces), np.int64, len(pieces)))
    ranks = values & ((1 << _RANK_BITS) - 1)
    endings = (values >> _RANK_BITS) & ((1 << _END_BITS) - 1)
    rest = values >> _LOW_BITS
    other = (values >> (_RANK_BITS + _END_BITS)) & _PLAIN_UNIT == 0
    starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    before = np.concatenate([[0], endings[:-1]]) if len(endings) else endings
    ends_sentence = (before == _ENDS_ANYWHERE) | ((before == _ENDS_SENTENCE) & (ranks > INSIDE))
    ranks = np.where(ends_sentence, np.maximum(ranks, SENTENCE), ranks)
    blank_ends = starts + (rest & ((1 << _BLANK_BITS) - 1))
    return Units(
        ends=ends.data,
        blank_ends=blank_ends.data,
        tokens=_sums(rest >> _BLANK_BITS),
        ranks=bytearray(ranks.astype(np.uint8).tobytes()),
        other=_sums(other),
        goes_on=bytearray(goes_on.tobytes() + b"\0"),
        more=_sums(more),
        long_runs=_long_runs(ends, blank_ends, starts),
    )


def _long_runs(ends: np.ndarray, blank_ends: np.ndarray, starts: np.ndarray) -> list[tuple[int, int]]:
    firsts = np.flatnonzero((blank_ends > starts) | (starts == 0))
    if not len(firsts):
        return []
    begins, stops = blank_ends[firsts], np.concatenate([ends[firsts[1:] - 1], ends[-1:]])
    long = stops - begins > MOST_POINTS
    return [*zip(begins[long].tolist(), stops[long].tolist(), strict=True)]


def _sums(numbers: np.ndarray) -> memoryview[int]:
    """[U + 1] of all before each."""
    found = np.zeros(len(numbers) + 1, np.int64)
    np.cumsum(numbers, out=found[1:])
    return found.data
