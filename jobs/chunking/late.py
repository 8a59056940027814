"""Late chunking: a document is cut to windows, a window to chunks. The model reads a window once; a chunk's vector is the mean over its own tokens there.

A row has one string for the engine, as every row has: the span of the chunk, then the window (`given_text`). So its hash is that of window and span, and
whatever goes by texts (batches, known vectors, rows that fail) goes by windows without knowing of them. What is no part of a window is given as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from embermill.jobs.chunking.cutter import Chunk, Cut, Cutter, Document, Window

SpannedText = tuple[str, list[tuple[int, int]]]
"""A text, and (start, end) in code points of what gets a vector of its own; [] where all of it gets one, as always."""
MARK = "\0"
MOST_GIVEN_BYTES = 256 << 20  # of the strings of one document: each holds its window
_SPAN = re.compile(f"{MARK}([0-9]+):([0-9]+)\n")


def given_text(text: str, chunk: Chunk) -> str:
    """What the engine is given of a chunk of `text`: prefix and chunk, or the span and the window in which it stands."""
    if (window := chunk.window) is None:
        return chunk.prefix.text + text[chunk.start : chunk.end]
    ahead = len(chunk.prefix.text) - window.start
    return f"{MARK}{window.span_start + ahead}:{window.span_end + ahead}\n{chunk.prefix.text}{text[window.start : window.end]}"


def window_of(given: str) -> tuple[str, tuple[int, int] | None]:
    """What given_text was made of: (window with its prefix, span in it), or (text, None)."""
    found = _SPAN.match(given)
    return (given, None) if found is None else (given[found.end() :], (int(found[1]), int(found[2])))


class LateCutter:
    """windows: cuts to what the model takes. chunks: to what gets a vector. A document that is one chunk is given as it is."""

    def __init__(self, windows: Cutter, chunks: Cutter) -> None:
        self._windows, self._chunks = windows, chunks

    def cut(self, documents: Sequence[Document]) -> list[Cut]:
        found = self._windows.cut(documents)
        pairs = [*zip(documents, found, strict=True)]
        pieces = [_piece(document, window) for document, cut in pairs for window in cut.chunks]
        inner = iter(self._chunks.cut(pieces))
        return [self._cut(document, cut, [next(inner) for _ in cut.chunks]) for document, cut in pairs]

    def _cut(self, document: Document, cut: Cut, inner: Sequence[Cut]) -> Cut:
        if refused := cut.refused or next((each.refused for each in inner if each.refused), ""):
            return Cut((), 0, refused)
        if len(cut.chunks) == 1 and len(inner[0].chunks) == 1 and _is_whole(cut.chunks[0], document.text):
            return replace(inner[0], chunks=(_as_it_is(inner[0].chunks[0], document.text),))
        pairs = zip(cut.chunks, inner, strict=True)
        chunks = [_as_it_is(chunk, document.text) for window, each in pairs for chunk in _in_window(window, each.chunks)]
        if (size := sum(_given_bytes(document.text, chunks))) > MOST_GIVEN_BYTES:
            return Cut((), 0, f"chunk.pooling: late: each chunk holds its window, {size:,} bytes in all, more than {MOST_GIVEN_BYTES:,}: split the document")
        return Cut(tuple(chunks), cut.unknown_words)


def _piece(document: Document, window: Chunk) -> Document:
    return replace(document, text=document.text[window.start : window.end], front_matter=document.front_matter and not window.start)


def _is_whole(chunk: Chunk, text: str) -> bool:
    return (chunk.start, chunk.end) == (0, len(text))


def _as_it_is(chunk: Chunk, text: str) -> Chunk:
    """A chunk that the model reads alone; where what is given of it would begin as a window does, a window of its own."""
    if chunk.window is not None or window_of(given_text(text, chunk))[1] is None:
        return chunk
    return replace(chunk, window=Window(chunk.start, chunk.end, chunk.start, chunk.end))


def _in_window(window: Chunk, chunks: Sequence[Chunk]) -> Iterator[Chunk]:
    """Chunks of the document out of those of the window's text. Their spans lie one after another, from the window's beginning to its end."""
    if window.start == window.end:
        yield window
        return
    edges = [window.start, *(window.start + chunk.start for chunk in chunks[1:]), window.end]
    for place, chunk in enumerate(chunks):
        at = Window(window.start, window.end, edges[place], edges[place + 1])
        yield Chunk(window.start + chunk.start, window.start + chunk.end, window.prefix, at)


def _given_bytes(text: str, chunks: Sequence[Chunk]) -> Iterator[int]:
    sizes = dict[tuple[int, int], int]()
    for chunk in chunks:
        if chunk.window is not None:
            place = chunk.window.start, chunk.window.end
            if place not in sizes:
                sizes[place] = len(text[slice(*place)].encode()) + len(chunk.prefix.text.encode())
            yield sizes[place]


@dataclass(frozen=True)
class Grouped:
    """Strings of a batch, by the window. windows: each once, with the spans that are wanted of it. order: [B] of each string its row in the answer."""

    windows: list[SpannedText]
    order: list[int]


def by_window(given: Sequence[str]) -> Grouped:
    """given: strings of given_text. A window of the batch is read once, whatever stands between its chunks."""
    windows, numbers, places = list[SpannedText](), dict[str, int](), list[tuple[int, int]]()
    for text, span in map(window_of, given):
        number = len(windows) if span is None else numbers.setdefault(text, len(windows))
        if number == len(windows):
            windows.append((text, []))
        wanted = windows[number][1]
        places.append((number, len(wanted)))
        if span is not None:
            wanted.append(span)
    first = [0, *accumulate(max(1, len(wanted)) for _, wanted in windows)]
    return Grouped(windows, [first[window] + row for window, row in places])
