"""Tokens of BERT's WordPiece, counted without the library: of ASCII letters and digits and of ideographs, of which the rules leave nothing in doubt.

The library looks for each piece from the end of the word, so that a word of L letters takes it L² look-ups, each of a new string: base64 is made of such
words. Here the prefixes of the vocabulary lead to the longest piece.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from embermill.encoder.text.library import library_panics
from embermill.encoder.text.whole_rows import Exact

if TYPE_CHECKING:
    import tokenizers

log = logging.getLogger(__name__)

SEED, SAMPLES = 24, 300
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_IDEOGRAPHS = "".join(map(chr, range(0x4E00, 0x9FA6)))  # of Unicode 1.1: to every library they are assigned, and no normal form takes them apart
_WORD = re.compile("[0-9A-Za-z]+")
_PLAIN = re.compile(f"[0-9A-Za-z{_IDEOGRAPHS[0]}-{_IDEOGRAPHS[-1]}]+")


def is_plain(text: object) -> bool:
    """Whether it is a text of such characters alone, of one at least."""
    return isinstance(text, str) and _PLAIN.fullmatch(text) is not None


class PlainWords:
    """Of a tokenizer that adds_up, to which each ideograph is a word, and whose unknown token has brackets: no word is taken for it."""

    def __init__(self, library: tokenizers.Tokenizer) -> None:
        model, vocabulary = library.model, library.get_vocab(with_added_tokens=False)
        prefix = model.continuing_subword_prefix
        self._lowercase, self._most_letters = library.normalizer.lowercase, model.max_input_chars_per_word
        self._first = _prefixes(vocabulary)
        self._later = _prefixes(piece[len(prefix) :] for piece in vocabulary if piece.startswith(prefix))

    def count(self, text: str) -> int:
        """Tokens of a plain text, special ones not included."""
        words = _WORD.findall(text)
        return len(text) - sum(map(len, words)) + sum(self._pieces(word) or 1 for word in words)

    def unknown(self, text: str) -> list[tuple[int, int]]:
        """(start, end) of each word of a plain text, of two characters and more, that is the unknown token."""
        return [word.span() for word in _WORD.finditer(text) if len(word[0]) > 1 and not self._pieces(word[0])]

    def _pieces(self, word: str) -> int:
        """0: it is the unknown token."""
        size = len(word)
        if size > self._most_letters:
            return 0
        if self._lowercase:
            word = word.lower()
        known, begin, count = self._first, 0, 0
        while begin < size:
            longest = 0
            for end in range(begin + 1, size + 1):
                found = known.get(word[begin:end])
                if found is None:
                    break
                if found:
                    longest = end
            if not longest:
                return 0
            known, begin, count = self._later, longest, count + 1
        return count


def _prefixes(pieces: Iterable[str]) -> dict[str, bool]:
    """Each beginning of a piece -> whether it is one itself."""
    found = dict[str, bool]()
    for piece in pieces:
        if _WORD.fullmatch(piece):
            for end in range(1, len(piece)):
                found.setdefault(piece[:end], False)
            found[piece] = True
    return found


def choose_plain_words(library: tokenizers.Tokenizer, exact: Exact) -> PlainWords | None:
    """None where the rules are others, or other counts were seen."""
    if not (exact.adds_up() and library.normalizer.handle_chinese_chars and library.truncation is None and library.padding is None):
        return None
    unknown = library.model.unk_token
    if not unknown.startswith("[") or library.model.token_to_id(unknown) is None:
        return None
    words, texts = PlainWords(library), [text for text in _samples(library) if text]
    with library_panics(exact.name):
        base, *counts = exact.count(["", *texts]).tolist()
        agree = all(words.count(text) == count - base for text, count in zip(texts, counts, strict=True))
        if agree and all(words.unknown(text) == exact.unknown_words(text) for text in texts):
            return words
    log.warning("%s counts all words: counts by the vocabulary are others for this tokenizer", exact.name)
    return None


def _samples(library: tokenizers.Tokenizer) -> list[str]:
    """Ideographs, and words of random letters and of pieces, up to lengths that no tokenizer takes for words; the same each time."""
    chosen = random.Random(SEED)
    pieces = [library.id_to_token(chosen.randrange(library.get_vocab_size())) or "" for _ in range(SAMPLES)]
    bits = [*_LETTERS, *_IDEOGRAPHS[::350], *("".join(_WORD.findall(piece)) for piece in pieces)]
    return [_IDEOGRAPHS[::7], *("".join(chosen.choices(bits, k=chosen.randrange(1, 40)))[: chosen.randrange(1, 130)] for _ in range(SAMPLES)), *_LETTERS]
