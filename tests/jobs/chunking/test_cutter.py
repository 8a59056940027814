"""What every cut must be, whatever the text, the tokenizer and the limit."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import embermill.jobs.chunking as room
from embermill.jobs.chunking import units
from embermill.jobs.chunking.alphabet import BLANKS, MARKS, character_class
from embermill.jobs.chunking.cutter import Chunk, Cut, Cutter, Document, Settings
from embermill.jobs.chunking.long_words import find_long_words
from embermill.jobs.chunking.measure import Measure
from embermill.jobs.chunking.units import UNIT_POINTS, UnitReader
from tests.jobs.chunking.cut_everywhere import numbers
from tests.jobs.chunking.tokenizers_to_cut_by import KINDS, measure_of

LIMITS = (32, 128, 256)
BITS = st.sampled_from([
    "word ", "The end. ", "a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "\n", "\r\n", "\n\n", "    ", "\t", "\u2028", "\x1c", "漢字", "。", "ไทยไม่มี",
    "👩‍👩‍👧", "e\u0301", "\u0301\u0301", "# Heading\n", "\n```\n# no\n```\n", "Wait! ", "f(x)[0].y", "\u3000", "\u200d", "\x00", "\ufeff", "— ",
    "Ж" * 70, "=" * 80,
])  # fmt: skip
TEXTS = st.lists(st.tuples(BITS, st.integers(1, 30)), max_size=25).map(lambda bits: "".join(bit * times for bit, times in bits)) | st.text(max_size=400)


@cache
def cutter(kind: str, limit: int, overlap: int = 0, headings: bool = False) -> Cutter:
    return Cutter(measure_of(kind), Settings(limit, overlap_tokens=overlap, headings=headings))


def require_whole(text: str, chunks: tuple[Chunk, ...]) -> None:
    """Ascending, and nothing between them but blanks."""
    places = [0, *(place for chunk in chunks for place in (chunk.start, chunk.end)), len(text)]
    assert places == sorted(places)
    assert not "".join(text[end:start] for end, start in zip(places[::2], places[1::2], strict=True)).strip(BLANKS)
    assert all(chunk.start < chunk.end for chunk in chunks) or len(chunks) == 1


def tokens_of(kind: str, text: str, cut: Cut) -> list[int]:
    return measure_of(kind).count([chunk.prefix.text + text[chunk.start : chunk.end] for chunk in cut.chunks]).tolist()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(text=TEXTS, limit=st.sampled_from(LIMITS), markdown=st.booleans())
def test_no_chunk_is_over_and_nothing_is_lost(kind: str, text: str, limit: int, markdown: bool) -> None:
    cut = cutter(kind, limit).cut([Document(text, markdown=markdown)])[0]
    assert max(tokens_of(kind, text, cut)) <= limit
    require_whole(text, cut.chunks)
    if measure_of(kind).count_one(text) <= limit and len(cut.chunks) > 1:
        assert any(end - start > 64 for start, end in measure_of(kind).unknown_words(text)), "what fits is its own only chunk"
    if len(cut.chunks) == 1 and text.strip(BLANKS) and measure_of(kind).count_one(text) <= limit:
        assert (cut.chunks[0].start, cut.chunks[0].end) == (0, len(text))


PLAIN = st.lists(st.sampled_from([
    *"abcz _-.,:()[]{}='\"\n\t\r/0", "the ", " fox", "\x1f", "\x0b", "\u00e9", "\u200d", "\u0301", "[UNK]", "word_of_some_length", "a" * 7,
    "abc" * 9, "quickfox" * 5, "lazy.quickfoxjumpsoverthe.dog", "a" * 23 + "[UNK]",
]), max_size=300).map("".join)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(text=PLAIN | TEXTS, limit=st.sampled_from(LIMITS), headings=st.booleans())
def test_a_sum_that_is_a_proof_cuts_as_the_second_look_does(text: str, limit: int, headings: bool) -> None:
    summed, looked_at = (Cutter(measure_of("wordpiece", adds_up=adds_up), Settings(limit, headings=headings)) for adds_up in (True, False))
    documents = [Document(text * 3, ("A title",), markdown=headings)]
    assert summed.cut(documents) == looked_at.cut(documents)


@settings(max_examples=60, deadline=None)
@given(text=PLAIN, places=st.lists(st.integers(0, 10_000), min_size=2, max_size=20))
def test_what_a_span_takes_is_what_the_tokenizer_counts(text: str, places: list[int]) -> None:
    """Words that an end of the span tears apart too. An added token may make it less."""
    measure = measure_of("wordpiece")
    reader = UnitReader(measure)
    read = reader.read(text)
    spans = [(first, last) for first, last in pairwise(sorted({place % (len(read) + 1) for place in places})) if first < last]
    found = reader.most_tokens(text, read, spans)
    counts = measure.count([text[slice(*read.span(*span))] for span in spans]) - measure.count_one("")
    for span, most, count in zip(spans, found, counts.tolist(), strict=True):
        inner = text[slice(*read.span(*span))]
        assert (most is None) == (re.fullmatch("[\t\n\r -~]*", "".join(read.piece(text, unit) for unit in range(*span))) is None), inner
        assert most is None or (most >= count if "[UNK]" in inner else most == count), inner


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["a" * 30, "b" * 65, "Z" * 101, "+", "/", " ", "\u0436", "\x00", "[UNK]", "_"]), max_size=40).map("".join))
def test_long_words_between_punctuation_are_those_of_the_whole_run(text: str) -> None:
    runs = UnitReader(measure_of("wordpiece")).read(text).long_runs
    assert runs == [run.span() for run in re.finditer(f"[^{character_class(BLANKS)}]{{65,}}", text)]
    parts, whole = (find_long_words(text, measure_of("wordpiece", adds_up=adds_up), runs) for adds_up in (True, False))
    assert parts == whole


def test_of_a_run_with_punctuation_the_long_words_alone_are_asked_for() -> None:
    inner, asked = measure_of("wordpiece"), list[str]()

    def unknown_words(text: str) -> Sequence[tuple[int, int]]:
        asked.append(text)
        return inner.unknown_words(text)

    text = ("a" * 32 + "/") * 1000 + "b" * 101 + "+="
    found = find_long_words(text, replace(inner, unknown_words=unknown_words), [(0, len(text))])
    assert found.spans == [(33_000, 33_101)]
    assert max(map(len, asked)) <= 101


def test_plain_text_is_counted_once() -> None:
    """What the tokenizer is asked for are words alone."""
    inner, asked = measure_of("wordpiece"), list[str]()

    def count(texts: list[str]) -> object:
        asked.extend(texts)
        return inner.count(texts)

    text = "The quick (brown) fox: it jumps, over_the lazy dog's back, self.assertEqual(jumps.over, dog).\n" * 100
    chunks = Cutter(Measure(count, inner.unknown_words, adds_up=True), Settings(64)).cut([Document(text)])[0].chunks  # type: ignore[arg-type]
    assert len(chunks) > 20 and max(map(len, asked)) < 12


def encoded(size: int) -> str:
    """Like base64, by arithmetic."""
    return "".join("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[number % 64] for number in numbers(7, size))


def test_of_base64_words_alone_are_asked_for() -> None:
    inner, asked = measure_of("wordpiece"), list[str]()

    def count(texts: list[str]) -> object:
        asked.extend(texts)
        return inner.count(texts)

    text = encoded(30_000)
    chunks = Cutter(Measure(count, inner.unknown_words, adds_up=True), Settings(256)).cut([Document(text)])[0].chunks  # type: ignore[arg-type]
    longest = max(map(len, text.replace("/", "+").split("+")))
    assert len(chunks) > 20 and max(map(len, asked)) <= max(longest, UNIT_POINTS)


@settings(max_examples=15, deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=5), limit=st.sampled_from(LIMITS))
def test_cuts_do_not_depend_on_what_else_is_cut(texts: list[str], limit: int) -> None:
    documents = [Document(text) for text in texts]
    together = cutter("bytes", limit).cut(documents)
    fresh = Cutter(measure_of("bytes"), Settings(limit))
    assert together == [fresh.cut([document])[0] for document in reversed(documents)][::-1]


@settings(max_examples=25, deadline=None)
@given(text=TEXTS, limit=st.sampled_from(LIMITS))
def test_no_long_unknown_word_is_in_a_chunk(text: str, limit: int) -> None:
    cut = cutter("wordpiece", limit).cut([Document(text)])[0]
    inner = [word for chunk in cut.chunks for word in measure_of("wordpiece").unknown_words(text[chunk.start : chunk.end])]
    assert cut.unknown_words or not any(end - start > 64 for start, end in inner)


@pytest.mark.parametrize(("letters", "chunks", "unknown"), [(64, 1, False), (101, 2, False), (448, 7, False), (200_000, None, True)])
def test_long_words(letters: int, chunks: int | None, unknown: bool) -> None:
    cut = Cutter(measure_of("wordpiece", ""), Settings(256)).cut([Document("a" * letters)])[0]
    assert len(cut.chunks) == chunks or chunks is None
    assert bool(cut.unknown_words) == unknown
    require_whole("a" * letters, cut.chunks)


def test_a_blob_is_refused_where_that_is_asked_for() -> None:
    cutter = Cutter(measure_of("wordpiece", ""), Settings(256, refuse_blobs=True))
    blob, word = cutter.cut([Document("a" * 100_000), Document("a" * 448)])
    assert not blob.chunks and "1000 chunks" in blob.refused
    assert len(word.chunks) == 7 and not word.refused


@settings(max_examples=15, deadline=None)
@given(text=TEXTS, overlap=st.sampled_from([8, 30]))
def test_overlap_repeats_whole_sentences_or_lines(text: str, overlap: int) -> None:
    cut = cutter("wordpiece", 128, overlap).cut([Document(text)])[0]
    assert max(tokens_of("wordpiece", text, cut)) <= 128
    for before, after in pairwise(cut.chunks):
        assert before.start < after.start and before.end < after.end and not text[before.end : after.start].strip(BLANKS)


def test_overlap_is_there() -> None:
    text = "The quick brown fox jumps. " * 60
    cut = cutter("wordpiece", 64, 20).cut([Document(text)])[0]
    assert all(after.start < before.end and text.startswith("The", after.start) for before, after in pairwise(cut.chunks[:-1]))


@settings(max_examples=15, deadline=None)
@given(text=TEXTS, title=TEXTS, limit=st.sampled_from(LIMITS))
def test_a_prefix_takes_a_quarter_of_the_room_at_most(text: str, title: str, limit: int) -> None:
    cut = cutter("bytes", limit, headings=True).cut([Document(text, (title,), True)])[0]
    assert max(tokens_of("bytes", text, cut)) <= limit
    require_whole(text, cut.chunks)
    assert all(chunk.prefix.tokens <= limit // 4 for chunk in cut.chunks)


def test_headings_stand_before_the_chunk() -> None:
    text = "# Fox\n\n" + "The quick fox. " * 20 + "\n\n## Dog\n\n" + "The lazy dog. " * 20
    cut = cutter("wordpiece", 64, headings=True).cut([Document(text, ("Title",), True)])[0]
    prefixes = list(dict.fromkeys(chunk.prefix.text for chunk in cut.chunks))
    assert prefixes == ["Title\n\n", "Title\nFox\n\n", "Title\nFox > Dog\n\n"]
    assert text.startswith("## Dog", next(chunk.start for chunk in cut.chunks if chunk.start >= text.index("## Dog")))


def test_what_does_not_fit_of_a_prefix_is_counted() -> None:
    title = "The quick brown fox jumps over the lazy dog " * 10
    chunk = cutter("wordpiece", 64).cut([Document("word " * 100, (title,))])[0].chunks[0]
    assert 0 < chunk.prefix.tokens <= 16 and chunk.prefix.text.startswith("The quick") and chunk.prefix.text.endswith("\n\n")
    assert chunk.prefix.dropped > 50


def test_boundaries_by_rank() -> None:
    sentence = "The quick fox. "
    paragraphs = (sentence * 8 + "\n\n") * 4
    cut = cutter("wordpiece", 64).cut([Document(paragraphs)])[0]
    assert [paragraphs[chunk.start : chunk.end].count("\n\n") for chunk in cut.chunks] == [0] * 4
    line = cutter("wordpiece", 64).cut([Document(sentence * 40)])[0]
    assert all((sentence * 40)[chunk.start : chunk.end].endswith(".") for chunk in line.chunks)


def test_the_users_spans_are_checked_and_cut_further() -> None:
    def halves(text: str) -> list[tuple[int, int]]:
        return [(0, len(text) // 2), (len(text) // 2, len(text))]

    text = "word " * 200
    cut = Cutter(measure_of("wordpiece"), Settings(64), halves).cut([Document(text)])[0]
    assert any(chunk.start == 500 for chunk in cut.chunks) and max(tokens_of("wordpiece", text, cut)) <= 64
    require_whole(text, cut.chunks)
    for bad in (lambda text: [(0, 10)], lambda text: [(5, 1)], lambda text: [(0, len(text) + 1)], lambda text: [("a", 2)]):
        refused = Cutter(measure_of("wordpiece"), Settings(64), bad).cut([Document(text)])[0]  # type: ignore[arg-type]
        assert not refused.chunks and refused.refused.startswith("chunk.splitter: ")


def test_no_character_is_torn_apart() -> None:
    text = "👩‍👩‍👧‍👦" * 100 + "e\u0301" * 300
    cut = cutter("bytes", 128).cut([Document(text)])[0]
    assert not any(text[chunk.start] in MARKS or text[chunk.start - 1] == "\u200d" for chunk in cut.chunks[1:])


def test_the_same_in_every_python() -> None:
    """Unicode tables change between versions of Python: the cutter has its own."""
    forbidden = re.compile(r"\\s|\\w|\\S|\\W|\\b|\\d|splitlines|strip\(\)|split\(\)|isalpha|isalnum|isspace|isdigit|isupper|lower\(\)|unicodedata|IGNORECASE")
    for path in sorted(Path(room.__file__).parent.glob("*.py")):
        assert not (found := forbidden.search(path.read_text(encoding="utf-8"))), f"{path.name}: {found}"


@pytest.mark.parametrize("adds_up", [False, True])
@pytest.mark.parametrize(
    "make", [lambda n: "word and word. " * (n // 15), lambda n: "a" * n, lambda n: "漢字" * (n // 2), lambda n: "x" * 70 + "\n" * n + "y", encoded]
)
def test_linear(monkeypatch: pytest.MonkeyPatch, make: Callable[[int], str], adds_up: bool) -> None:
    """The work asked of the tokenizer per character does not grow with the text: a clock would tell of the machine. More words than are remembered."""
    monkeypatch.setattr(units, "MOST_REMEMBERED", 2000)
    given = list[int]()
    for size in (20_000, 40_000):
        inner, asked = measure_of("wordpiece"), [0]

        def count(texts: list[str], inner: Measure = inner, asked: list[int] = asked) -> object:
            asked[0] += sum(map(len, texts))
            return inner.count(texts)

        def unknown_words(text: str, inner: Measure = inner, asked: list[int] = asked) -> Sequence[tuple[int, int]]:
            asked[0] += len(text)
            return inner.unknown_words(text)

        Cutter(Measure(count, unknown_words, adds_up), Settings(128)).cut([Document(make(size))])  # type: ignore[arg-type]
        given.append(asked[0])
    assert given[1] <= 2.3 * given[0] + 1000, given


def test_long_words_are_forgotten() -> None:
    """Each may be as long as a document."""
    reader = UnitReader(measure_of("wordpiece"))
    for letter in "abc":
        reader.read(letter * 5000)
    assert max(map(len, reader._atoms)) == 5000
    reader.read("word")
    assert max(map(len, reader._atoms)) <= units.LONGEST_REMEMBERED
