"""Windows that a model reads at once, and chunks in them."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embermill.jobs.chunking.alphabet import BLANKS
from embermill.jobs.chunking.cutter import Chunk, Cutter, Document, Settings, Window
from embermill.jobs.chunking.late import LateCutter, by_window, given_text, window_of
from embermill.jobs.chunking.prefix import Prefix
from tests.jobs.chunking.tokenizers_to_cut_by import KINDS, measure_of

LIMIT, CHUNK = 96, 40
TEXTS = [
    "", " ", "One word.", "A sentence that fits into one chunk, with its blanks.  ",
    "\n\n".join(f"Paragraph {number} of some words. It has two sentences, {'and more of it ' * (number % 7)}." for number in range(40)),
    "日本語の文章です。漢字とかな。" * 40, "e\u0301 a\u0308 👩\u200d👩\u200d👧 " * 60, "a" * 700, "one " + "b" * 130 + " two " * 90, "x\r\n\r\ny\n" * 200,
    "# Title\n\n" + "Some text. " * 60 + "\n\n```\n# no heading\n```\n\n## Second\n\n" + "More. " * 90, "\0 begins with a NUL. " * 30, "\0003:5\nlike a window",
]  # fmt: skip


def cutters(kind: str) -> tuple[LateCutter, Cutter]:
    measure = measure_of(kind)
    windows, chunks = (Cutter(measure, Settings(limit)) for limit in (LIMIT, CHUNK))
    return LateCutter(windows, chunks), chunks


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("markdown", [False, True])
def test_windows_hold_chunks_that_hold_the_document(kind: str, markdown: bool) -> None:
    late, chunks = cutters(kind)
    measure = measure_of(kind)
    for text in TEXTS:
        document = Document(text, (), markdown)
        (cut,) = late.cut([document])
        (alone,) = chunks.cut([document])
        at, windows = 0, dict[tuple[int, int], list[Chunk]]()
        for chunk in cut.chunks:
            assert not text[at : chunk.start].strip(BLANKS)
            at = chunk.end
            assert measure.count_one(text[chunk.start : chunk.end]) <= CHUNK
            if chunk.window is not None:
                windows.setdefault((chunk.window.start, chunk.window.end), []).append(chunk)
        assert not text[at:].strip(BLANKS)
        for (start, end), inside in windows.items():
            assert measure.count_one(text[start:end]) <= LIMIT
            spans = [(chunk.window.span_start, chunk.window.span_end) for chunk in inside if chunk.window]
            assert [start, *(end for _, end in spans)] == [*(start for start, _ in spans), end], "one after another, over all of the window"
            assert all(low <= chunk.start and chunk.end <= high for chunk, (low, high) in zip(inside, spans, strict=True))
        if len(alone.chunks) == 1 and not text.startswith("\0003:5\n"):
            assert cut == alone
        if len(windows) == 1 and len(cut.chunks) > 1:
            assert [(chunk.start, chunk.end) for chunk in cut.chunks] == [(chunk.start, chunk.end) for chunk in alone.chunks]


def test_more_than_one_chunk_to_a_window() -> None:
    late, _ = cutters("wordpiece")
    (cut,) = late.cut([Document(TEXTS[4])])
    windows = [(chunk.window.start, chunk.window.end) for chunk in cut.chunks if chunk.window]
    assert len(windows) == len(cut.chunks) > len({*windows}) * 2 > 10


def test_a_document_is_cut_as_it_is_cut_alone() -> None:
    late, _ = cutters("wordpiece")
    documents = [Document(text) for text in TEXTS]
    assert late.cut(documents) == [late.cut([document])[0] for document in documents]


@given(st.text(alphabet="ab \n\0:012é👍"), st.text(alphabet="t\0\n:1", max_size=6), st.data())
@settings(max_examples=300, deadline=None)
def test_what_is_given_is_read_back(text: str, prefix: str, data: st.DataObject) -> None:
    start, low, high, end = sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=4, max_size=4)))
    before = Prefix(prefix)
    window, span = window_of(given_text(text, Chunk(low, high, before, Window(start, end, low, high))))
    assert window == prefix + text[start:end] and span is not None and window[slice(*span)] == text[low:high]
    assert given_text(text, Chunk(start, end, before)) == prefix + text[start:end], "its hash is that of the text"


def test_a_text_that_begins_as_a_window_does_is_given_as_a_window_of_its_own() -> None:
    text, plain = "\0003:5\nlike a window", "\0 begins with a NUL"
    first, second = cutters("wordpiece")[0].cut([Document(text), Document(plain)])
    assert window_of(given_text(text, first.chunks[0])) == (text, (0, len(text)))
    assert given_text(plain, second.chunks[0]) == plain
    assert given_text(text, Chunk(0, len(text))) == text, "without chunk.pooling: late it is a text as any other"


def test_each_window_of_a_batch_is_read_once() -> None:
    chosen = random.Random(1)
    windows = [f"window {number} " * 5 for number in range(5)]
    rows = [(window, (at, at + 7)) for window in windows for at in (0, 7, 14)]
    texts = [given_text(window, Chunk(*span, window=Window(0, len(window), *span))) for window, span in rows] + ["plain", "plain", "window 0 " * 5]
    wanted = [*rows, ("plain", None), ("plain", None), ("window 0 " * 5, None)]
    order = chosen.sample(range(len(texts)), len(texts))
    found = by_window([texts[place] for place in order])
    answers = [(window, span) for window, spans in found.windows for span in [*spans, *([] if spans else [None])]]
    assert [answers[row] for row in found.order] == [wanted[place] for place in order]
    assert len([window for window, spans in found.windows if spans]) == 5 and len(np.unique(found.order)) == len(texts)


def test_a_document_whose_windows_take_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    late, _ = cutters("wordpiece")
    monkeypatch.setattr("embermill.jobs.chunking.late.MOST_GIVEN_BYTES", 10_000)
    text = TEXTS[4]
    found, fits = late.cut([Document(text), Document(TEXTS[2])])
    assert not found.chunks and "more than 10,000: split the document" in found.refused and not fits.refused
    assert not any(cut.refused for cut in late.cut([Document(text[start : start + len(text) // 4]) for start in range(0, len(text), len(text) // 4)]))
