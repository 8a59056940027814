"""A prompt that does not end in a blank or punctuation: its last word and the text's first are one word to the tokenizer.

Prompt and text are concatenated, as sentence-transformers does it, so that the vectors are the same: nothing is put between them. But WordPiece replaces a
word of more than some number of characters by one unknown token. Behind a prompt with a long last word, that happens to the first word of every text.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING

from embermill.counts import several

if TYPE_CHECKING:
    import tokenizers

log = logging.getLogger(__name__)

_PROBE = "a"
_SHARE_LEFT = 0.5  # of the longest word, for the text's own first word: no word of a language is longer than that


def warn_where_words_are_lost(tokenizer: tokenizers.Tokenizer, prompt: str) -> None:
    """Warn, once in a process, that behind this prompt the first words of texts become unknown tokens, and say how to avoid it."""
    longest = getattr(tokenizer.model, "max_input_chars_per_word", None)  # WordPiece has one, other models split a word of any length
    if longest is None or tokenizer.pre_tokenizer is None:
        return
    joined = _characters_joined_to_text(tokenizer, prompt)
    left = longest - joined
    if joined and left < _SHARE_LEFT * longest:
        _warn_once(joined, f"one of more than {several(left, 'character')} is" if left > 0 else "it is", longest)


def _characters_joined_to_text(tokenizer: tokenizers.Tokenizer, prompt: str) -> int:
    """Characters of the prompt in one word with a letter that follows it: none after a blank, punctuation or a character that is a word by itself."""
    text = prompt + _PROBE
    words = tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text)
    return len(words[-1][0]) - len(_PROBE) if words else 0


@cache
def _warn_once(joined: int, lost: str, longest: int) -> None:
    log.warning(
        "the prompt ends in a word of %d characters, which the first word of each text continues: %s lost, because this tokenizer replaces a word of more than "
        "%d characters by one unknown token; end the prompt with a blank or punctuation, unless this is intended",
        joined, lost, longest,
    )  # fmt: skip
