"""Texts that tokenizers disagree on if they disagree at all: seeded, made of one tokenizer's own pieces and of what Unicode is known to be difficult for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tokenizers

BLANKS = (" ", " ", " ", "  ", "\t", "\n", "\r\n", "\x0b", "\x0c", "\x1c", "\x1f", "\x85", "\xa0", "\u1680", "\u2003", "\u2028", "\u2029", "\u202f", "\u3000")
MARKS = (
    "\u0300", "\u0301", "\u0307", "\u0308", "\u030a", "\u0327", "\u0345", "\u05b0", "\u064b", "\u093c", "\u0e34", "\u1ab0", "\u20dd", "\u3099",
    "\ufe0f", "\U000e0100", "\u200b", "\u200c", "\u200d", "\u200e", "\u2060", "\ufeff", "\xad", "\u180e", "\x00", "\x01", "\x08", "\x7f", "\x80",
    "\ufffd", "\ufffe", "\uffff", "\ue000", "\U0010fffd", "\U0001f468", "\U0001f3fd", "\U0001f1e9", "\U000e0001",
)  # fmt: skip
LETTERS = (  # of many scripts: those that have no single lower case, that a normal form joins or parts, or that look like another
    "\u0130", "\u0131", "\xdf", "\u1e9e", "\u017f", "\ufb01", "\ufb00", "\u0149", "\u01c5", "\u03a3", "\u03c3", "\u03c2", "\u0391\u03a3", "\u0386",
    "\u0390", "\u1fb3", "\u1fbc", "\xc5", "\xc5", "K", "\u03a9", "\xe9", "e\u0301", "\xc9", "\xf1", "\xd8", "\xf8", "\xc6", "\u0142", "\u0110",
    "\u01a1", "\u01c4", "\u02b0", "\u0416", "\u0439", "\u0438\u0306", "\u0451", "\u05d0", "\u05e9\u05bc", "\u0643", "\ufedb", "\u0627", "\u0915",
    "\u0995", "\u0e44", "\u0e01\u0e33", "\ud55c", "\u1112", "\u1112\u1161\u11ab", "\uff71", "\u30a2", "\uff9e", "\u304c", "\u304b\u3099", "\u6f22",
    "\u8c48", "\U00020000", "\U0002a6a5", "\u3002", "\u3001", "\u2460", "\xbd", "\xb2", "\u2167", "\u338f", "\u2026", "\u2025", "\u2014", "\u2013",
    "\u201c", "\u2019", "\xab", "\xbf", "\xb7", "\u2022", "\u20ac", "\xa3", "\u2116", "\u2122", "\u2260", "\u2192", "\u2665", "\U0001d518",
    "\U0001d7d8", "\uff21", "\uff41", "\uff11",
)  # fmt: skip
ASCII = tuple(map(chr, range(33, 127)))
MOST_PIECES = 600  # of the vocabulary
MOST_FRAGMENTS = 24  # of a text
_KINDS = (0.34, 0.2, 0.1, 0.08, 0.08, 0.08, 0.06, 0.06)  # shares of: pieces, blanks, ASCII, letters, marks, any character, added tokens, words


class HostileTexts:
    """A source of texts for one tokenizer; equal seeds give equal texts."""

    def __init__(self, library: tokenizers.Tokenizer, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        added = [token.content for token in library.get_added_tokens_decoder().values()]
        said: dict[str, Any] = json.loads(library.to_str())["model"]
        prefix, self.longest = said.get("continuing_subword_prefix") or "##", int(said.get("max_input_chars_per_word") or 100)
        pieces = sorted(library.get_vocab(with_added_tokens=False))
        chosen = [pieces[place] for place in self.random.permutation(len(pieces))[:MOST_PIECES]]
        bare = [piece.removeprefix(prefix) for piece in chosen]
        words = [word for piece in bare[:60] for word in (piece.upper(), piece.title(), piece.swapcase())]
        specials = [form for token in added for form in (token, token, token.lower(), token.upper(), f" {token}", f"{token} ", token[:-1])] or ["[CLS]"]
        self.pools: tuple[Sequence[str], ...] = (bare + chosen[:100], BLANKS, ASCII, LETTERS, MARKS, (), specials[:4000], words or ["A"])

    def texts(self, count: int) -> list[str]:
        """A word about as long as the tokenizer allows stands in one of sixteen."""
        sizes = self.random.integers(0, MOST_FRAGMENTS, count)
        fragments = self._fragments(int(sizes.sum()))
        ends = np.cumsum(sizes).tolist()
        found = ["".join(fragments[end - size : end]) for size, end in zip(sizes.tolist(), ends, strict=True)]
        for place in range(0, count, 16):
            found[place] += self._long_word()
        return found

    def _fragments(self, count: int) -> list[str]:
        kinds = self.random.choice(len(_KINDS), count, p=_KINDS).tolist()
        draws = self.random.integers(0, 1 << 62, count).tolist()
        return [self.pools[kind][draw % len(self.pools[kind])] if self.pools[kind] else character(draw) for kind, draw in zip(kinds, draws, strict=True)]

    def _long_word(self) -> str:
        letters = ("a", "é", "ß", "Ж", "e\u0301", "\U0001d518")
        length = self.longest + int(self.random.integers(-3, 4))
        return " " + letters[int(self.random.integers(len(letters)))] * max(length, 1)


def character(number: int) -> str:
    """Any character but a surrogate; three of four from the planes that text is written in."""
    place = number % (0x3400 if number & 0x300_0000 else 0x110000)
    return chr(place if not 0xD800 <= place < 0xE000 else place - 0xD800)


def every_character(surroundings: str, first: int = 0, last: int = 0x110000, a_text: int = 64) -> list[str]:
    """Texts in which each code point from `first` to below `last` stands in `surroundings` ("a{}b"), so many of them in a text, between blanks."""
    places = [place for place in range(first, last) if not 0xD800 <= place < 0xE000]
    groups = (places[start : start + a_text] for start in range(0, len(places), a_text))
    return [" ".join(surroundings.format(chr(place)) for place in group) for group in groups]
