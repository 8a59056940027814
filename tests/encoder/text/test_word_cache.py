"""Ids word by word are those of `tokenizers`, every one, or the tokenizer is not taken; processes beside this one give the same."""

from __future__ import annotations

import os
import signal
import string
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Library

from embermill.encoder.machine_cache import machine_cache
from embermill.encoder.text import gate, row_processes, word_cache
from embermill.encoder.text.gate import agrees
from embermill.encoder.text.hostile_texts import BLANKS, LETTERS, MARKS, HostileTexts, every_character
from embermill.encoder.text.row_processes import RowProcesses, SpreadRows
from embermill.encoder.text.tokenizer import Tokenizer
from embermill.encoder.text.whole_rows import Exact, WholeRows
from embermill.encoder.text.word_cache import CachedWords, choose_words, cuts_at_blanks

NORMALIZERS = [
    None,
    normalizers.NFKC(),
    normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()]),
    normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]),
]


@pytest.fixture(autouse=True)
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder for what is kept of this machine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    machine_cache.cache_clear()
    yield
    machine_cache.cache_clear()


def random_unigram(seed: int) -> Any:
    """As XLM-R's: cut at blanks, then a mark before every word. Pieces are of letters of many scripts, marks and blanks too."""
    rng = np.random.default_rng(seed)
    letters = [*string.ascii_letters, *string.digits, *string.punctuation, *(one for one in (*LETTERS, *MARKS) if len(one) == 1), "▁", "é", "漢", "字"]
    pieces = {"<s>": 0.0, "<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0} | {letter: -8.0 for letter in letters if rng.random() < 0.9}
    for _ in range(600):
        piece = "▁" * bool(rng.random() < 0.5) + "".join(rng.choice(letters[:62], int(rng.integers(1, 6))))
        pieces.setdefault(piece, float(-rng.uniform(3, 12)))
    library = Library(models.Unigram([*pieces.items()], unk_id=3, byte_fallback=False))
    library.normalizer = NORMALIZERS[seed % len(NORMALIZERS)]
    library.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", "always")])
    library.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=False, add_prefix_space=False)
    library.add_special_tokens([AddedToken("<s>"), AddedToken("</s>"), AddedToken("<mask>", lstrip=True, normalized=bool(seed % 2))])
    library.add_tokens([AddedToken("embermill", normalized=True), AddedToken("Word", single_word=True)])
    return library


def hostile(library: Any, seed: int, count: int) -> list[str]:
    """Blanks of every kind between plain words and marks, beside the texts that every tokenizer is asked."""
    rng = np.random.default_rng(seed)
    parts = [*BLANKS, *MARKS, *LETTERS, "plain", "words", "Embermill", "EMBERMILL", "sword Word", "<MASK>", "<mask>", "a" * 200, "naïve", "漢字。"]
    mixed = ["".join(rng.choice(parts, int(rng.integers(0, 12)))) for _ in range(count)]
    return mixed + HostileTexts(library, seed).texts(count)


@pytest.mark.parametrize("seed", range(12))
def test_ids_are_those_of_the_library(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    library = random_unigram(seed)
    assert cuts_at_blanks(library)
    monkeypatch.setattr(word_cache, "MOST_WORDS", 50 if seed % 2 else 1 << 16)  # with fifty, words are forgotten all the time
    words, exact = CachedWords(library), Exact(library)
    texts = hostile(library, 100 + seed, 1500)
    for at in range(0, len(texts), 100):
        assert agrees(exact, words, texts[at : at + 100])
    assert agrees(exact, words, every_character("a{}b", last=0x3000)) and agrees(exact, words, every_character("b {}", last=0x3000))
    assert agrees(exact, words, []) and agrees(exact, words, ["", " ", "\x1c"])


def test_words_are_asked_once_and_plain_texts_go_by_them() -> None:
    library = random_unigram(1)
    words = CachedWords(library)
    words(["some plain text", "and some more"])
    assert set(words._young) == {"some", "plain", "text", "and", "more"}
    assert words._is_plain("Größe, 漢字。 \u2014 \u201cquoted\u201d\r\n")
    assert not any(map(words._is_plain, ["e\u0301", "ﬁ", "an embermill", "<MASK>", "\x1f", "\u3000"]))


def test_several_threads_may_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_cache, "MOST_WORDS", 40)
    library = random_unigram(2)
    words, exact = CachedWords(library), Exact(library)
    parts = [[f"text {number} of part {part} with words{number % 7}" for number in range(60)] for part in range(24)]
    with ThreadPoolExecutor(4) as pool:
        for part, found in zip(parts, pool.map(words, parts), strict=True):
            expected = exact(part)
            assert found.input_ids.tolist() == expected.input_ids.tolist() and found.offsets.tolist() == expected.offsets.tolist()


def changed(**parts: Any) -> Any:
    library = random_unigram(1)
    for name, value in parts.items():
        setattr(library, name, value)
    return library


@pytest.mark.parametrize(
    "library",
    [
        lambda: changed(pre_tokenizer=pre_tokenizers.Metaspace("▁", "always")),
        lambda: changed(pre_tokenizer=pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", "first")])),
        lambda: changed(pre_tokenizer=pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits()])),
        lambda: changed(pre_tokenizer=None),
        lambda: changed(normalizer=normalizers.Replace("a", " ")),
        lambda: changed(normalizer=normalizers.Sequence([normalizers.NFKC(), normalizers.Prepend("x")])),
        lambda: changed(encode_special_tokens=True),
    ],
)
def test_what_does_not_follow_from_words_alone_is_left_to_the_library(library: Any) -> None:
    made = library()
    assert not cuts_at_blanks(made) and choose_words(made, Exact(made)) is None


def test_a_difference_keeps_the_library(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    class Wrong(CachedWords):
        def __call__(self, texts: Any) -> WholeRows:
            rows = super().__call__(texts)
            return WholeRows(np.where(rows.input_ids == rows.input_ids.max(initial=0), 5, rows.input_ids), rows.offsets)

    library = random_unigram(1)
    assert isinstance(choose_words(library, Exact(library)), CachedWords)
    machine_cache.cache_clear()
    monkeypatch.setattr(word_cache, "CachedWords", Wrong)
    monkeypatch.setattr(gate, "SEED", 21)  # other notes
    assert choose_words(library, Exact(library)) is None and "other ids" in caplog.text


# -- processes beside this one


def started(library: Any, count: int) -> RowProcesses:
    processes = RowProcesses(library, count)
    deadline = time.monotonic() + 60
    while not processes.ready:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return processes


@pytest.mark.parametrize("count", [1, 3])
def test_processes_give_the_same_ids(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_processes, "PART_CHARACTERS", 700)
    monkeypatch.setattr(row_processes, "FEW_CHARACTERS", 0)
    library = random_unigram(3)
    exact, words = Exact(library), CachedWords(library)
    processes = started(library, count)
    texts = hostile(library, 7, 300)
    for rows in (SpreadRows(processes, exact), SpreadRows(processes, exact, words)):
        assert agrees(exact, rows, texts) and agrees(exact, rows, [])
        with pytest.raises((TypeError, UnicodeEncodeError)):
            rows(["good"] * 40 + ["\ud800"])
        with pytest.raises(TypeError):
            rows(["good", 3])  # type: ignore[list-item]
    assert (SpreadRows(processes, exact).name, SpreadRows(processes, exact, words).name) == (exact.name, words.name)
    pids = processes._processes.pids
    processes.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_process_that_dies_costs_nothing_but_time(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(row_processes, "FEW_CHARACTERS", 0)
    library = random_unigram(4)
    exact, processes = Exact(library), started(library, 1)
    rows, texts = SpreadRows(processes, exact), ["a few words"] * 50
    (pid,) = processes._processes.pids
    os.kill(pid, signal.SIGSTOP)  # so that it is killed with a question before it
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(rows, texts)
        time.sleep(0.2)
        os.kill(pid, signal.SIGKILL)
        assert answer.result().input_ids.tolist() == exact(texts).input_ids.tolist()
    assert "SIGKILL" in caplog.text and agrees(exact, rows, texts) and processes._processes.pids != [pid]
    processes.close()


def test_a_tokenizer_with_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says of itself is what the check of a shard's rows needs: which of the two makes the ids, and whether they differ."""
    monkeypatch.setattr(row_processes, "FEW_CHARACTERS", 0)
    library = random_unigram(1)
    library.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    tokenizer = Tokenizer(tmp_path, max_tokens=12, vocab_size=2000)
    found = tokenizer.beside(2)
    assert found is not None and tokenizer.fast_name == ""
    beside, close = found
    texts = hostile(library, 9, 60)
    assert beside.fast_name == beside.name == f"{tokenizer.name} by words" and beside.exactly().name == tokenizer.name
    for one in (beside, beside.exactly(), beside.with_prompt("query: ")):
        expected = (tokenizer.with_prompt("query: ") if one._prompt else tokenizer).tokenize(texts)
        assert all(np.array_equal(a, b) for a, b in zip(one.tokenize(texts), expected, strict=True))
    assert beside.differing(texts) == [] and beside.beside(2) is None
    monkeypatch.setattr(CachedWords, "__call__", lambda words, given: pytest.fail("the processes do this"))
    beside.tokenize(texts)
    close()
