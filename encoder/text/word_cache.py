"""Token ids word by word, each word asked for once: for tokenizers that cut a text at blanks before they do anything else (XLM-R's and its like).

Exact by construction for texts of well-behaved characters, whose words nothing joins with the blanks around them; any other text goes to the library whole.
It is one thread's: on several cores the library's own threads are faster, unless each core has a process of its own (row_processes.py).
"""

from __future__ import annotations

import json
import logging
import re
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from embermill.encoder.text import gate
from embermill.encoder.text.whole_rows import Exact, WholeRows

if TYPE_CHECKING:
    import tokenizers

log = logging.getLogger(__name__)

ID_BYTES = 4
MOST_WORDS = 1 << 16  # of each of two generations: some 20 MB
_BLANK = re.compile(r"\s")
# No combining mark, joiner or control; no letter that a normal form takes apart, so that no added token comes of it; of blanks those that every library has.
_PLAIN = re.compile(
    "[\t\n\r -~\xa1-\xa7\xa9\xab-\xac\xae\xb0-\xb1\xb6-\xb7\xbb\xbf-\u012f\u0134-\u013e\u0141-\u0148\u014a-\u017e\u0391-\u03a1\u03a3-\u03c9\u0401\u0410-\u044f"
    "\u0451\u2013\u2014\u2018\u2019\u201c\u201d\u2022\u20ac\u3001\u3002\u3041-\u3096\u30a1-\u30fa\u30fc\u4e00-\u9fff\uac00-\ud7a3]*"
)


def cuts_at_blanks(library: tokenizers.Tokenizer) -> bool:
    """Whether each word's ids follow from the word alone: Unigram or BPE behind a pre-tokenizer that splits at blanks and then marks every word alike."""
    before = _said_by(library.pre_tokenizer) or {}
    parts = before.get("pretokenizers", [before])
    marks_each = all(part["type"] == "Metaspace" and part.get("prepend_scheme", "always") == "always" for part in parts[1:])
    return bool(
        type(library.model).__name__ in ("Unigram", "BPE")
        and len(parts) == 2
        and parts[0].get("type") == "WhitespaceSplit"
        and marks_each
        and library.truncation is None
        and library.padding is None
        and not library.encode_special_tokens
        and not any(_BLANK.search(token.content) for token in library.get_added_tokens_decoder().values())
        and _normalizer_is_local(_said_by(library.normalizer))
    )


def _said_by(part: Any) -> dict[str, Any] | None:
    """What tokenizer.json says of one part, without its vocabulary; None where there is none."""
    return None if part is None else json.loads(part.__getstate__())


def _normalizer_is_local(normalizer: dict[str, Any] | None) -> bool:
    """Whether it makes of words what it makes of each of them, where they are plain. Blanks may become other blanks, and be joined."""
    if normalizer is None:
        return True
    if normalizer["type"] == "Sequence":
        return all(_normalizer_is_local(part) for part in normalizer["normalizers"])
    return normalizer["type"] in ("NFC", "NFKC", "Nmt", "Precompiled", "Lowercase") or (
        normalizer["type"] == "Replace" and normalizer["pattern"] == {"Regex": " {2,}"} and normalizer["content"] == " "
    )


class CachedWords:
    """Raises TypeError and UnicodeEncodeError, as `tokenizers` does, for what is not text."""

    def __init__(self, library: tokenizers.Tokenizer) -> None:
        """library: one that cuts_at_blanks."""
        self._library, self._exact = library, Exact(library)
        self.name = f"{self._exact.name} by words"
        probe = library.encode("a")
        special = probe.special_tokens_mask
        first, last = special.index(0), special[::-1].index(0)
        self._before, self._after = _as_bytes(probe.ids[:first]), _as_bytes(probe.ids[len(special) - last :])
        added = sorted(token.content for token in library.get_added_tokens_decoder().values())
        self._added = re.compile("|".join(map(re.escape, added)), re.IGNORECASE) if added else None
        self._young, self._old = dict[str, bytes](), dict[str, bytes]()  # ids of words, int32

    def __call__(self, texts: Sequence[str]) -> WholeRows:
        plain = [self._is_plain(text) for text in texts]
        split = [text.split() if good else [] for text, good in zip(texts, plain, strict=True)]
        known = self._look_up({word for words in split for word in words})
        before, after = self._before, self._after
        rows = [b"".join((before, *map(known.__getitem__, words), after)) for words in split]
        others = [place for place, good in enumerate(plain) if not good]
        for place, encoding in zip(others, self._library.encode_batch_fast([texts[place] for place in others]), strict=True):
            rows[place] = _as_bytes(encoding.ids)
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) // ID_BYTES for row in rows], out=offsets[1:])
        return WholeRows(np.frombuffer(b"".join(rows), np.int32), offsets)

    def _is_plain(self, text: str) -> bool:
        return isinstance(text, str) and _PLAIN.fullmatch(text) is not None and not (self._added and self._added.search(text))

    def _look_up(self, words: set[str]) -> dict[str, bytes]:
        """The ids of each of these words, among others'."""
        young, old = self._young, self._old
        missing = words - young.keys()
        if len(young) + len(missing) > MOST_WORDS:
            young, old = {word: young[word] for word in words if word in young}, young
        young.update({word: old[word] for word in missing if word in old})
        new = sorted(missing - young.keys())
        young.update(zip(new, [_as_bytes(encoding.ids) for encoding in self._library.encode_batch_fast(new, add_special_tokens=False)], strict=True))
        self._young, self._old = young, old
        return young


def _as_bytes(ids: Sequence[int]) -> bytes:
    return struct.pack(f"{len(ids)}i", *ids)


def choose_words(library: tokenizers.Tokenizer, exact: Exact) -> CachedWords | None:
    """None where words are not cut at blanks, or where other ids were seen."""
    if not cuts_at_blanks(library):
        return None
    words = CachedWords(library)
    if gate.agrees_here("words-1", library, exact, words):
        return words
    log.warning("%s tokenizes: a cache of words gives other ids for this tokenizer", exact.name)
    return None
