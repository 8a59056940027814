"""What a word for a prompt means: a name of the model's, or a text; and when a text looks like a name that is not there."""

from __future__ import annotations

import logging

import pytest

from embermill.encoder import prompts
from embermill.encoder.prompts import mistaken_name, named_or_text, named_prompt

PROMPTS = {"passage": "passage: ", "s2p_query": "find: ", "bare": "so"}


def test_names() -> None:
    assert named_prompt(PROMPTS, "passage") == "passage: "
    assert named_prompt(PROMPTS, "query") == named_prompt({}, "document") == ""
    assert named_prompt({"query": "how "}, "query") == "how "
    assert named_prompt(PROMPTS, "title") is None


@pytest.mark.parametrize("word", ["query", "document", "retrieval.query", "web_search-query", "STS", "q"])
def test_a_bare_word_that_names_no_prompt_is_doubted(word: str) -> None:
    assert "its prompts: bare, passage, s2p_query" in str(mistaken_name(PROMPTS, word))


@pytest.mark.parametrize("text", ["", " ", "query ", "query:", "query: ", "search_query: ", "how do i", "为这个句子", "a-", "Frage…", *PROMPTS])
def test_texts_and_names_are_not(text: str) -> None:
    assert mistaken_name(PROMPTS, text) is None
    assert named_or_text(PROMPTS, text) == PROMPTS.get(text, text)


def test_the_warning_comes_once_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    prompts._warn_once.cache_clear()
    with caplog.at_level(logging.WARNING, logger="embermill.encoder"):
        assert [named_or_text(PROMPTS, "topic"), named_or_text(PROMPTS, "topic")] == ["topic", "topic"]
    assert len(caplog.messages) == 1 and "'topic': this model has no prompt of that name" in caplog.messages[0]
