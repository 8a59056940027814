"""WordPiece by `nanotoken`, tens of times as fast as `tokenizers`: used where it gives the same ids, and nowhere else.

It is made from the resolved tokenizer, never from a file. What it does not implement, or a difference on a few thousand hostile texts, sends the texts to
`tokenizers`, whose answer always counts. What those texts said is kept once for a machine, by tokenizer, both libraries' versions and processor.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from embermill.encoder.text import gate
from embermill.encoder.text.library import library_panics
from embermill.encoder.text.whole_rows import Exact, RowTokenizer, WholeRows

if TYPE_CHECKING:
    import tokenizers

log = logging.getLogger(__name__)

CACHE_ENTRIES = 1 << 16  # words that each thread of nanotoken keeps: 65 MB over 3 million distinct ones; its default took 270


class FastWordPiece:
    """Raises TypeError and UnicodeEncodeError, as `tokenizers` does, for what is not text."""

    def __init__(self, tokenizer: Any, version: str) -> None:
        self._tokenizer, self.name = tokenizer, f"nanotoken {version}"

    def __call__(self, texts: Sequence[str]) -> WholeRows:
        given = texts if isinstance(texts, list) else list(texts)
        if not set(map(type, given)) <= {str}:
            given = [_as_text(text) for text in given]  # it would take bytes, too, and make other ids of those that are not UTF-8
        found = self._tokenizer.encode_batch(given)
        return WholeRows(found.ids.view(np.int32), found.offsets)


def _as_text(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(f"expected a string, got {type(text).__name__}")
    return str(text)


def choose_row_tokenizer(library: tokenizers.Tokenizer, exact: Exact) -> RowTokenizer:
    """The fast one where it was seen to give this tokenizer's ids, else `tokenizers` itself; one line of the log says which, and why."""
    if type(library.model).__name__ != "WordPiece":
        return exact
    fast = _open(library)
    if fast is None:
        return exact
    if isinstance(fast, str):
        log.info("%s tokenizes: %s", exact.name, fast)
        return exact
    if not gate.agrees_here("word_piece-1", library, exact, fast):
        log.warning("%s tokenizes: %s gives other ids for this tokenizer", exact.name, fast.name)
        return exact
    log.info("%s tokenizes: it gave the ids of %s on %d hostile texts", fast.name, exact.name, gate.HOSTILE_TEXTS)
    return fast


def _open(library: tokenizers.Tokenizer) -> FastWordPiece | str | None:
    """None where nanotoken is not installed; the reason where it does not implement what this tokenizer asks for."""
    module = _nanotoken()
    if module is None:
        return None
    if library.encode_special_tokens:
        return "split_special_tokens is not a setting of nanotoken's"  # and not in to_str()
    from importlib.metadata import version

    try:
        with library_panics("nanotoken"):
            return FastWordPiece(module.Tokenizer.from_json(library.to_str()), version("nanotoken"))
    except Exception as error:  # UnsupportedTokenizerError, and whatever else an alpha version may raise
        return f"nanotoken does not take this tokenizer ({error})"


@cache
def _nanotoken() -> Any:
    """The module, its caches limited; None where it is not installed."""
    try:
        import nanotoken
    except ImportError:
        return None
    nanotoken.set_cache_entries(CACHE_ENTRIES)
    return nanotoken
