"""What the cutter asks of a model's tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

CountTokens = Callable[[Sequence[str]], np.ndarray]
FindUnknown = Callable[[str], Sequence[tuple[int, int]]]


def none_unknown(text: str) -> Sequence[tuple[int, int]]:
    return ()


@dataclass(frozen=True)
class Measure:
    """count: texts -> [B] tokens of each, special ones and prompt included, of a text that is over the limit too.

    unknown_words: a text -> (start, end) in code points of what the tokenizer takes for one unknown token.
    adds_up: of printable ASCII, tabs and line ends the count is that of "" and what words and punctuation marks add, each counted by itself.
    """

    count: CountTokens
    unknown_words: FindUnknown = none_unknown
    adds_up: bool = False

    def count_one(self, text: str) -> int:
        return int(self.count([text])[0])
