"""Words that a tokenizer takes for one unknown token because they are long: WordPiece makes one [UNK] of a word over 100 characters.

Pieces of such a word that stand in one chunk become that word again, so a chunk may hold only so much of it, and may end inside it even if nearly empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from embermill.jobs.chunking.alphabet import safe_cut
from embermill.jobs.chunking.measure import Measure

MOST_POINTS = 64  # of such a word in one chunk
FEWEST_POINTS = 16
MOST_CHUNKS = 1000  # of one document that long words may make; above it the document is a blob
_PLAIN = re.compile("[!-~]*")  # what Measure.adds_up is about, without blanks
_PLAIN_WORD = re.compile(f"[0-9A-Za-z]{{{MOST_POINTS + 1},}}")


@dataclass(frozen=True)
class LongWords:
    """spans: (start, end) of the words, in code points. breaks: places at which a chunk must end, ascending."""

    spans: Sequence[tuple[int, int]] = ()
    breaks: Sequence[int] = ()

    @property
    def make_a_blob(self) -> bool:
        return len(self.breaks) >= MOST_CHUNKS


def find_long_words(text: str, measure: Measure, runs: Sequence[tuple[int, int]]) -> LongWords:
    """runs: (start, end) of what has no blank and more than MOST_POINTS code points."""
    spans = [(first + start, first + end) for first, last in _long_runs(text, measure, runs) for start, end in measure.unknown_words(text[first:last])]
    spans = [(start, end) for start, end in spans if end - start > MOST_POINTS]
    breaks = list[int]()
    for span in spans:
        breaks.extend(_breaks(text, *span, measure))
        if len(breaks) >= MOST_CHUNKS:
            break
    return LongWords(spans, breaks)


def _long_runs(text: str, measure: Measure, runs: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """(start, end) of all that may be such a word. Where punctuation is known to end words, as base64 has it after 32 letters or so, few of them are left."""
    for start, end in runs:
        if measure.adds_up and _PLAIN.fullmatch(text, start, end):
            yield from (word.span() for word in _PLAIN_WORD.finditer(text, start, end))
        else:
            yield start, end


def unknown_in(words: LongWords, text: str, chunks: Sequence[tuple[int, int]], measure: Measure) -> int:
    """Unknown tokens of over MOST_POINTS that are left of such words in those chunks, (start, end) ascending: a shorter piece may be known."""
    count, place = 0, 0
    for start, end in chunks:
        while place < len(words.spans) and words.spans[place][1] <= start:
            place += 1
        at = place
        while at < len(words.spans) and words.spans[at][0] < end:
            first, last = max(start, words.spans[at][0]), min(end, words.spans[at][1])
            if last - first > MOST_POINTS:
                count += sum(stop - begin > MOST_POINTS for begin, stop in measure.unknown_words(text[first:last]))
            at += 1
    return count


def _breaks(text: str, start: int, end: int, measure: Measure) -> Iterator[int]:
    step = _step(text[start:end], measure)
    last = start
    for at in range(start + step, end, step):
        last = safe_cut(text, at, last)
        yield last


def _step(word: str, measure: Measure) -> int:
    """As many code points as the tokenizer knows at once: it may count an accented or Hangul letter as several."""
    step = MOST_POINTS
    while step > FEWEST_POINTS and any(end - start > step // 2 for start, end in measure.unknown_words(word[:step])):
        step //= 2
    return step
