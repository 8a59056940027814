"""How many tokens `tokenizers` makes of texts, special ones and prompt included, and which words it does not know; without it where that is the same."""

from __future__ import annotations

import string
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from embermill.encoder.text.plain_words import PlainWords, choose_plain_words, is_plain
from embermill.encoder.text.whole_rows import Exact

if TYPE_CHECKING:
    import tokenizers

_ENDS_OF_WORDS = string.punctuation + " \t\n\r"


class Counting:
    """Raises TypeError and UnicodeEncodeError, as the library does, for what is not text."""

    def __init__(self, library: tokenizers.Tokenizer, exact: Exact) -> None:
        self._library, self._exact = library, exact

    @cached_property
    def _words(self) -> PlainWords | None:
        return choose_plain_words(self._library, self._exact)

    def adds_up(self, prompt: str) -> bool:
        """Whether the count of a text of printable ASCII, tabs and line ends is the sum over its words and punctuation marks, and what that of "" is."""
        return self._exact.adds_up() and (not prompt or prompt[-1] in _ENDS_OF_WORDS)

    def count(self, texts: Sequence[str], prompt: str) -> np.ndarray:
        """[B] int64."""
        plain = [place for place, text in enumerate(texts) if is_plain(text)] if self.adds_up(prompt) else []
        words = self._words if plain else None
        if words is None:
            return self._exact.count([prompt + text for text in texts] if prompt else texts)
        counts = np.empty(len(texts), np.int64)
        here = np.zeros(len(texts), bool)
        here[plain] = True
        others = np.flatnonzero(~here)
        empty, *found = self._exact.count([prompt, *(prompt + texts[place] for place in others.tolist())]).tolist()
        counts[others] = found
        counts[plain] = [empty + words.count(texts[place]) for place in plain]
        return counts

    def unknown_words(self, text: str) -> list[tuple[int, int]]:
        """(start, end) in code points of each word of two and more that is the unknown token alone. Only WordPiece has such words: what is long is one."""
        words = self._words if is_plain(text) else None
        return self._exact.unknown_words(text) if words is None else words.unknown(text)
