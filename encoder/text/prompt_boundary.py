"""A prompt with no blank at its end: the text's first word is glued to the prompt's last one.

Prompt and text are one string, as sentence-transformers makes it, and its vectors are ours: so nothing is put between them. But WordPiece gives up on a
word of more than some characters, and of a long last word of the prompt and the first one of the text that leaves a single unknown token, in silence.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tokenizers

log = logging.getLogger(__name__)

_PROBE = "a"
_SHARE_LEFT = 0.5  # of the longest word, for the text's own: above that no word of a language is in danger that would not be without a prompt


def warn_where_words_are_lost(tokenizer: tokenizers.Tokenizer, prompt: str) -> None:
    """Say, once in a process, that the first words of texts will be lost behind this prompt, and what to do."""
    longest = getattr(tokenizer.model, "max_input_chars_per_word", None)  # WordPiece has one, other models cut any word
    if longest is None or tokenizer.pre_tokenizer is None:
        return
    glued = _glued_characters(tokenizer, prompt)
    left = longest - glued
    if glued and left < _SHARE_LEFT * longest:
        _warn_once(glued, f"one of more than {left} character{'' if left == 1 else 's'} is" if left > 0 else "it is", longest)


def _glued_characters(tokenizer: tokenizers.Tokenizer, prompt: str) -> int:
    """Characters of the prompt in one word with a letter that follows it: none behind a blank, punctuation or a character that is a word by itself."""
    text = prompt + _PROBE
    words = tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text)
    return len(words[-1][0]) - len(_PROBE) if words else 0


@cache
def _warn_once(glued: int, lost: str, longest: int) -> None:
    log.warning(
        "the prompt ends in a word of %d characters, to which the first word of each text is glued: %s lost, since this tokenizer takes a word of more than "
        "%d characters for one unknown token; end the prompt with a blank or punctuation, if that is not meant",
        glued, lost, longest,
    )  # fmt: skip
