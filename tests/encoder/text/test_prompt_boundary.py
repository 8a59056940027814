"""A prompt whose last word the text's first one continues: the warning comes when the tokenizer is opened, once, and is exact."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from embermill.encoder.text import prompt_boundary
from embermill.encoder.text.tokenizer import Tokenizer
from tests.encoder.tiny_bert import TinyBert, write_tokenizer

VOCAB = TinyBert().vocab
UNK, ZIP = VOCAB.index("[UNK]"), VOCAB.index("zip")
LONGEST = 100  # characters of a word, by the tokenizer


@pytest.fixture
def warnings_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> object:
    """warnings_of(prompt): the tokenizer with it, and what opening it said."""
    write_tokenizer(tmp_path, VOCAB)

    def open_with(prompt: str) -> tuple[Tokenizer, list[str]]:
        prompt_boundary._warn_once.cache_clear()
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="embermill.encoder"):
            tokenizer = Tokenizer(tmp_path, max_tokens=400, vocab_size=len(VOCAB), prompt=prompt)
        return tokenizer, caplog.messages

    return open_with


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("", None),
        ("how do i ", None),
        ("how do i", None),
        ("file:", None),
        ("b" * 300 + " ", None),
        ("b" * 300 + ".", None),
        ("b-" * 150, None),
        ("日" * 150, None),
        ("b" * 50, None),
        ("b" * 51, "one of more than 49 characters is lost"),
        ("the " + "b" * 98, "one of more than 2 characters is lost"),
        ("b" * 99, "one of more than 1 character is lost"),
        ("b" * 100, "it is lost"),
        ("b" * 300, "it is lost"),
    ],
)
def test_what_is_said(warnings_of, prompt: str, said: str | None) -> None:  # type: ignore[no-untyped-def]
    _, messages = warnings_of(prompt)
    assert len(messages) == (said is not None)
    if said is not None:
        assert said in messages[0] and "end the prompt with a blank" in messages[0]


@pytest.mark.parametrize("joined", [97, 98, 99, 100])
def test_what_is_said_is_what_happens(warnings_of, joined: int) -> None:  # type: ignore[no-untyped-def]
    """The advice helps, and the number is exact: a word that still fits is no unknown token."""
    tokenizer, _ = warnings_of("s" * joined)  # which the vocabulary can spell
    room = LONGEST - joined
    for characters in range(1, 4):
        (_, *ids, _) = tokenizer.tokenize(["s" * characters + " zip"]).input_ids.tolist()
        assert (ids == [UNK, ZIP]) == (characters > room)
    changed, messages = warnings_of("the ")
    assert messages == [] and UNK not in changed.tokenize(["zip"]).input_ids


def test_it_is_said_once(warnings_of, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:  # type: ignore[no-untyped-def]
    warnings_of("b" * 80)
    Tokenizer(tmp_path, max_tokens=400, vocab_size=len(VOCAB), prompt="b" * 80)
    assert len(caplog.messages) == 1
