"""Cutter: documents in, chunks out. What was packed by small pieces is counted again as a whole, prompt and special tokens included, and cut again if over;
only where the tokenizer is known to make of plain text no more than of its words is the sum taken at its word.

The same text and settings give the same chunks, whatever else is cut beside it: no clock, batch or worker is in it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from embermill.jobs.chunking.alphabet import BLANKS, safe_cut
from embermill.jobs.chunking.long_words import MOST_CHUNKS, MOST_POINTS, LongWords, find_long_words, unknown_in
from embermill.jobs.chunking.markdown import Outline, outline
from embermill.jobs.chunking.measure import Measure
from embermill.jobs.chunking.own_splitter import BadSpans, Splitter, checked_spans
from embermill.jobs.chunking.packing import Packing, middle, pack
from embermill.jobs.chunking.prefix import NO_PREFIX, Prefix, Prefixes, paths
from embermill.jobs.chunking.units import HEADING, LINE, UnitReader, Units

MAY_FIT = 4  # a document whose pieces take so many times the room is not counted as a whole: no tokenizer makes so little of it
LEAST_ROOM = 16
_IN_A_FENCE = bytes(min(rank, LINE) for rank in range(256))
PREFIX_SHARE = 4  # a prefix takes a quarter of the room at most


@dataclass(frozen=True)
class Settings:
    """max_tokens: of a chunk, prompt, prefix and special tokens included. refuse_blobs: chunk.on_blob. The others as in the configuration."""

    max_tokens: int
    min_fill: float = 0.25
    overlap_tokens: int = 0
    headings: bool = False
    refuse_blobs: bool = False


@dataclass(frozen=True)
class Document:
    """columns: of prefix_columns, in their order. markdown: which rules cut it. front_matter: whether a block of data at its beginning is no heading."""

    text: str
    columns: tuple[str, ...] = ()
    markdown: bool = False
    front_matter: bool = False


@dataclass(frozen=True)
class Window:
    """What the model reads at once, text[start:end] of the document, and of it the span that a chunk's vector is made of; with chunk.pooling: late."""

    start: int
    end: int
    span_start: int
    span_end: int


@dataclass(frozen=True)
class Chunk:
    """text[start:end] of the document, in code points, and what comes before it. window: None where the model reads the chunk alone."""

    start: int
    end: int
    prefix: Prefix = NO_PREFIX
    window: Window | None = None


@dataclass(frozen=True)
class Cut:
    """unknown_words: pieces of over 64 code points of words that the model takes for one unknown token. refused: why it cannot be cut, or ""."""

    chunks: tuple[Chunk, ...]
    unknown_words: int = 0
    refused: str = ""


class Cutter:
    """splitter: spans of the user's own; those over the limit are cut further."""

    def __init__(self, measure: Measure, settings: Settings, splitter: Splitter | None = None) -> None:
        self._measure, self._settings, self._splitter = measure, settings, splitter
        self._units = UnitReader(measure)
        self._room = settings.max_tokens - measure.count_one("")
        if self._room < LEAST_ROOM:
            raise ValueError(f"{self._room} tokens of room for text, expected {LEAST_ROOM} or more: prompt and special tokens take the others")
        self._prefixes = Prefixes(measure, self._units, self._room // PREFIX_SHARE)
        self._packing = Packing(settings.min_fill, settings.overlap_tokens)

    def cut(self, documents: Sequence[Document]) -> list[Cut]:
        words, units = list[LongWords](), list[Units]()
        for document in documents:
            found = self._units.read(document.text)
            long = find_long_words(document.text, self._measure, found.long_runs)
            words.append(long)
            units.append(self._units.read(document.text, long.breaks) if long.breaks and not long.make_a_blob else found)
        prefixes = [self._prefixes.fit(document.columns, ()) for document in documents]
        whole = self._that_fit(documents, prefixes, words, units)
        cuts = list[Cut]()
        for place, document in enumerate(documents):
            if self._settings.refuse_blobs and words[place].make_a_blob:
                cuts.append(Cut((), 0, f"words of over {MOST_POINTS} characters that the tokenizer does not know would make over {MOST_CHUNKS} chunks"))
            elif place in whole:
                cuts.append(Cut((Chunk(0, len(document.text), prefixes[place]),)))
            else:
                cuts.append(self._cut(document, prefixes[place], words[place], units[place]))
        return cuts

    def _that_fit(self, documents: Sequence[Document], prefixes: Sequence[Prefix], words: Sequence[LongWords], units: Sequence[Units]) -> set[int]:
        """Documents that are their own only chunk: those without a word that would be lost in it, and those without any text."""
        empty = {place for place, found in enumerate(units) if not len(found)}
        may = [place for place, found in enumerate(units) if place not in empty and found.tokens[-1] <= MAY_FIT * self._room and not words[place].spans]
        counts = self._measure.count([prefixes[place].text + documents[place].text for place in may]) if may else ()
        return {place for place, count in zip(may, counts, strict=True) if count <= self._settings.max_tokens} | {
            place for place in empty if self._measure.count_one(documents[place].text) <= self._settings.max_tokens
        }

    def _cut(self, document: Document, prefix: Prefix, words: LongWords, units: Units) -> Cut:
        if not len(units):
            return Cut((Chunk(0, 0, prefix),))  # blanks that do not fit: none of them is lost, and none says anything
        try:
            chunks = self._split_by_user(document, prefix) if self._splitter is not None else self._split(document, prefix, words, units)
        except BadSpans as error:
            return Cut((), 0, f"chunk.splitter: {error}")
        places = [(chunk.start, chunk.end) for chunk in chunks]
        return Cut(tuple(chunks), unknown_in(words, document.text, places, self._measure) if words.spans else 0)

    def _split(self, document: Document, prefix: Prefix, words: LongWords, units: Units) -> list[Chunk]:
        """Counted again are those of which the sum is no proof."""
        found = outline(document.text, front_matter=document.front_matter) if document.markdown else Outline()
        _rank(units, found)
        sections = [(0, prefix)]
        if self._settings.headings and found.headings:
            sections = [(start, self._prefixes.fit(document.columns, path)) for start, path in paths(found.headings)]
        firsts = [units.at(start) for start, _ in sections]
        rooms = [(first, self._room - each.tokens) for first, (_, each) in zip(firsts, sections, strict=True)]
        must = [] if words.make_a_blob else sorted({units.at(place) for place in words.breaks} - {0, len(units)})
        spans = [*pack(units, rooms, must, self._packing)]
        inside = [bisect_right(firsts, first) - 1 for first, _ in spans]
        chunks = [Chunk(*units.span(*span), sections[section][1]) for span, section in zip(spans, inside, strict=True)]
        most = self._units.most_tokens(document.text, units, spans) if self._measure.adds_up else [None] * len(spans)
        doubtful = [place for place, (total, section) in enumerate(zip(most, inside, strict=True)) if total is None or total > rooms[section][1]]
        parts = self._parts(document.text, chunks, doubtful)
        return [part for place, chunk in enumerate(chunks) for part in parts.get(place, [chunk])]

    def _split_by_user(self, document: Document, prefix: Prefix) -> list[Chunk]:
        assert self._splitter is not None
        return self._fitted(document.text, [Chunk(start, end, prefix) for start, end in checked_spans(self._splitter, document.text)])

    def _fitted(self, text: str, chunks: list[Chunk]) -> list[Chunk]:
        """The second look: what is over is cut near its middle until all of it fits."""
        parts = self._parts(text, chunks, range(len(chunks)))
        return [part for place, chunk in enumerate(chunks) for part in parts.get(place, [chunk])] if parts else chunks

    def _parts(self, text: str, chunks: list[Chunk], places: Sequence[int]) -> dict[int, list[Chunk]]:
        """Of the chunks at these places those that are over, and what they are cut to."""
        counts = self._measure.count([chunks[place].prefix.text + text[chunks[place].start : chunks[place].end] for place in places]) if places else ()
        over = [place for place, count in zip(places, counts, strict=True) if count > self._settings.max_tokens]
        return {place: self._fitted(text, self._halve(text, chunks[place])) for place in over}

    def _halve(self, text: str, chunk: Chunk) -> list[Chunk]:
        piece = text[chunk.start : chunk.end]
        units = self._units.read(piece)
        if len(units) > 1:
            at = middle(units)
            spans = [units.span(0, at), units.span(at, len(units))]
        elif len(piece) > 1:
            at = safe_cut(piece, len(piece) // 2, 0)
            spans = [(0, at), (at, len(piece))]
        else:
            raise BadSpans(f"one character, {piece!r}, takes more tokens than chunk.max_tokens")
        return [Chunk(chunk.start + start, chunk.start + end, chunk.prefix) for start, end in spans if piece[start:end].strip(BLANKS)]


def _rank(units: Units, found: Outline) -> None:
    """Headings are the best boundaries; within a fence a blank line is a line's end like any other."""
    for start, end in found.fences:
        first, last = units.at(start) + 1, units.at(end)
        units.ranks[first:last] = units.ranks[first:last].translate(_IN_A_FENCE)
    for heading in found.headings:
        if (first := units.at(heading.start)) < len(units):
            units.ranks[first] = HEADING
