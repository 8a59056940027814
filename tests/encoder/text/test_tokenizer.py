"""Flat ids, limits and counts of what was dropped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from embermill.encoder.errors import InputError, ModelConfigError, TokenizerError
from embermill.encoder.text.files import tokenizer_limit
from embermill.encoder.text.tokenizer import Tokenizer
from tests.encoder.tiny_bert import TinyBert, write_json, write_tokenizer

VOCAB = TinyBert().vocab
CLS, SEP = VOCAB.index("[CLS]"), VOCAB.index("[SEP]")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tokenizer(tmp_path, VOCAB)
    return tmp_path


def ids(words: str) -> list[int]:
    return [VOCAB.index(word) for word in words.split()]


def make(folder: Path, max_tokens: int = 12, **options: object) -> Tokenizer:
    return Tokenizer(folder, max_tokens=max_tokens, vocab_size=len(VOCAB), **options)  # type: ignore[arg-type]


def documents(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    tokens = tokenizer.tokenize(texts)
    assert tokens.input_ids.dtype == np.int32 and tokens.offsets.dtype == np.int64 and tokens.num_tokens.dtype == np.int32
    assert tokens.offsets[0] == 0 and tokens.offsets[-1] == len(tokens.input_ids)
    return [tokens.input_ids[start:end].tolist() for start, end in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)]


def test_texts_become_flat_ids(folder: Path) -> None:
    assert documents(make(folder), ["the zip", "", "Files"]) == [[CLS, *ids("the zip"), SEP], [CLS, SEP], [CLS, *ids("file ##s"), SEP]]


def test_no_texts(folder: Path) -> None:
    assert documents(make(folder), []) == []


def test_truncation_and_padding_saved_in_the_file_are_ignored(folder: Path) -> None:
    saved = json.loads((folder / "tokenizer.json").read_text())
    assert saved["truncation"]["max_length"] == 7 and saved["padding"] is not None
    assert len(documents(make(folder, 12), ["the " * 9])[0]) == 11
    assert len(documents(make(folder, 12), ["the"])[0]) == 3


def test_what_does_not_fit_is_dropped_and_counted(folder: Path) -> None:
    tokens = make(folder, 5).tokenize(["the a of zip file open", "the a of", "the a of zip", ""])
    assert tokens.num_tokens.tolist() == [5, 5, 5, 2]
    assert tokens.num_tokens_dropped.tolist() == [3, 0, 1, 0]
    assert tokens.input_ids[:5].tolist() == [CLS, *ids("the a of"), SEP]


def test_a_tokenizer_that_cuts_on_the_left(folder: Path) -> None:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    write_json(folder / "tokenizer_config.json", config | {"truncation_side": "left"})
    assert documents(make(folder, 5), ["the a of zip file open"]) == [[CLS, *ids("zip file open"), SEP]]


def test_the_prompt_stands_before_the_text_and_counts(folder: Path) -> None:
    tokens = make(folder, 6, prompt="how do i ").tokenize(["open a zip", ""])
    assert tokens.input_ids.tolist() == [CLS, *ids("how do i open"), SEP, CLS, *ids("how do i"), SEP]
    assert tokens.num_tokens.tolist() == [6, 5] and tokens.num_tokens_dropped.tolist() == [2, 0]


def test_lowercasing_asked_for_by_the_model(folder: Path) -> None:
    saved = json.loads((folder / "tokenizer.json").read_text())
    saved["normalizer"]["lowercase"] = False
    write_json(folder / "tokenizer.json", saved)
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    unknown = VOCAB.index("[UNK]")
    assert documents(make(folder), ["ZIP"]) == [[CLS, unknown, SEP]]
    assert documents(make(folder, lowercase=True), ["ZIP"]) == [[CLS, *ids("zip"), SEP]]


@pytest.mark.parametrize("texts", [["a", None], ["a", b"b"], ["a", 3], ["a", "b\ud800"]])
def test_what_is_not_text_is_named(folder: Path, texts: list[object]) -> None:
    with pytest.raises(InputError, match="text 11:"):
        make(folder).tokenize(texts, first=10)  # type: ignore[arg-type]


def test_no_tokenizer_at_all(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"no tokenizer\.json and no vocab\.txt"):
        make(tmp_path)


def test_a_damaged_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(TokenizerError, match="not a tokenizer that this version"):
        make(folder)


def test_a_tokenizer_of_another_model(folder: Path) -> None:
    with pytest.raises(TokenizerError, match=rf"ids up to {len(VOCAB) - 1}, but the model's vocabulary has 9"):
        Tokenizer(folder, max_tokens=12, vocab_size=9)


def test_a_limit_that_special_tokens_fill(folder: Path) -> None:
    with pytest.raises(ModelConfigError, match="special tokens take 2, but max_tokens is 2: nothing of a text would be left; give max_tokens=3 or more"):
        make(folder, 2)
    assert documents(make(folder, 3), ["open a zip"]) == [[CLS, *ids("open"), SEP]]


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_prompt_that_fills_the_limit(folder: Path, side: str) -> None:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    write_json(folder / "tokenizer_config.json", config | {"truncation_side": side})
    with pytest.raises(ModelConfigError, match=r"prompt takes 3 tokens and .* take 2, but max_tokens is 5: .* shorten the prompt, or give max_tokens=6"):
        make(folder, 5, prompt="how do i ")
    make(folder, 6, prompt="how do i ")


def test_a_prompt_that_is_not_text(folder: Path) -> None:
    with pytest.raises(ModelConfigError, match="prompt: not valid Unicode"):
        make(folder, prompt="b\ud800 ")


def test_a_vocabulary_without_special_tokens(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a\nb\n[UNK]\n")
    with pytest.raises(TokenizerError, match=r"puts \[CLS\] and \[SEP\] around every text, but the vocabulary has no such token"):
        make(tmp_path)


@pytest.mark.parametrize(("written", "limit"), [(None, None), (512, 512), (int(1e30), None), (1e30, None), ("x", None)])
def test_the_tokenizers_own_limit(tmp_path: Path, written: object, limit: int | None) -> None:
    write_json(tmp_path / "tokenizer_config.json", {"model_max_length": written})
    assert tokenizer_limit(tmp_path) == limit
