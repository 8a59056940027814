"""Units -> spans of at most so many tokens, each cut at the boundary of the highest rank in a window up to the limit, the last one among equals."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from embermill.jobs.chunking.units import SENTENCE, Units


@dataclass(frozen=True)
class Packing:
    """min_fill: a span is cut beyond this share of its room. overlap_tokens: of the span before, repeated in whole sentences or lines."""

    min_fill: float
    overlap_tokens: int = 0


def pack(units: Units, rooms: Sequence[tuple[int, int]], must: Sequence[int], packing: Packing) -> Iterator[tuple[int, int]]:
    """(first unit, end) of each span. rooms: (from this unit on, tokens), ascending, the first from 0 on. must: units before which a span ends, ascending."""
    starts, borders = [start for start, _ in rooms], [*must, len(units)]
    first = last = 0
    while last < len(units):
        room = rooms[bisect_right(starts, first) - 1][1]
        border = borders[bisect_right(borders, last)]
        end = _end(units, first, last, border, room, packing.min_fill)
        yield first, end
        first, last = _next_first(units, first, end, border, packing.overlap_tokens), end


def _end(units: Units, first: int, last: int, border: int, room: int, min_fill: float) -> int:
    """Where a span that begins at `first` ends: beyond `last`, at `border` at the latest."""
    before = units.tokens[first]
    furthest = bisect_right(units.tokens, before + room, first) - 1
    if furthest >= border:
        return border
    lowest = max(last + 1, bisect_left(units.tokens, before + min_fill * room, first))
    if furthest <= lowest:
        return max(furthest, last + 1)
    window = units.ranks[lowest : furthest + 1]
    return lowest + window.rindex(max(window))


def _next_first(units: Units, first: int, end: int, border: int, overlap_tokens: int) -> int:
    """`end`, or an earlier boundary of a sentence or better, at most so many tokens before it. None is carried over a border."""
    if not overlap_tokens or end in (border, len(units)):
        return end
    lowest = max(first + 1, bisect_left(units.tokens, units.tokens[end] - overlap_tokens))
    return next((unit for unit in range(lowest, end) if units.ranks[unit] >= SENTENCE), end)


def middle(units: Units) -> int:
    """The best boundary near the middle: of the highest rank in the middle half of the tokens, the nearest one among equals. units: two at least."""
    half = units.tokens[-1] / 2
    low = min(len(units) - 1, max(1, bisect_left(units.tokens, half / 2)))
    high = max(low, min(len(units) - 1, bisect_right(units.tokens, half * 1.5) - 1))
    best = max(units.ranks[low : high + 1])
    return min((unit for unit in range(low, high + 1) if units.ranks[unit] == best), key=lambda unit: abs(units.tokens[unit] - half))
