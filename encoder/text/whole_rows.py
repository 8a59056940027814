"""Token ids of many texts, whole, as any tokenizer gives them; and cutting them to the model's length, with a count of what that drops."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    import tokenizers


_ADD_AS_MANY = ("BertProcessing", "RobertaProcessing", "TemplateProcessing", "NoneType")  # special tokens, whatever the text
PAST = 1 << 60  # beyond every text
_BRACKETED = re.compile(r"[\[<][A-Za-z0-9_]+[\]>]")


class WholeRows(NamedTuple):
    """input_ids: [N] int32, special tokens included. offsets: [B+1] int64, where each text begins, then N."""

    input_ids: np.ndarray
    offsets: np.ndarray


class RowTokenizer(Protocol):
    """name: library and version."""

    @property
    def name(self) -> str: ...

    def __call__(self, texts: Sequence[str]) -> WholeRows: ...


class Exact:
    """By `tokenizers`, whose answer always counts. Raises TypeError and UnicodeEncodeError, as the library does, for what is not text."""

    def __init__(self, library: tokenizers.Tokenizer) -> None:
        import tokenizers

        self._library, self.name = library, f"tokenizers {tokenizers.__version__}"

    def __call__(self, texts: Sequence[str]) -> WholeRows:
        encodings = self._library.encode_batch_fast(texts if isinstance(texts, list) else list(texts))
        offsets = np.zeros(len(encodings) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, encodings), np.int64, len(encodings)), out=offsets[1:])
        ids = (encoding.ids for encoding in encodings)
        return WholeRows(np.fromiter(chain.from_iterable(ids), np.int32, int(offsets[-1])), offsets)

    def with_places(self, texts: Sequence[str], prefix: int, suffix: int) -> tuple[WholeRows, np.ndarray]:
        """The rows, and of each id the last code point of what it stands for, ascending in a row: [N] int64. Of special ones -1 (before) and PAST (after).

        prefix, suffix: special tokens at either end of every row.
        """
        encodings = self._library.encode_batch(texts if isinstance(texts, list) else list(texts))
        rows = [np.array(encoding.ids, np.int32) for encoding in encodings]
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        places = [_last_points(np.array(encoding.offsets, np.int64).reshape(-1, 2), prefix, suffix) for encoding in encodings]
        return WholeRows(_joined(rows, np.int32), offsets), _joined(places, np.int64)

    def count(self, texts: Sequence[str]) -> np.ndarray:
        """[B] int64: ids of each text, special tokens included."""
        encodings = self._library.encode_batch_fast(texts if isinstance(texts, list) else list(texts))
        return np.fromiter(map(len, encodings), np.int64, len(encodings))

    def adds_up(self) -> bool:
        """Whether the ids of a text of printable ASCII, tabs and line ends are those of its words and its punctuation marks, each by itself.

        So it is of BERT's WordPiece, whose words end at blanks and at each punctuation mark, as long as no added token reaches over an end of a word.
        """
        library = self._library
        kinds = [type(part).__name__ for part in (library.model, library.normalizer, library.pre_tokenizer, library.post_processor)]
        if kinds[:3] != ["WordPiece", "BertNormalizer", "BertPreTokenizer"] or kinds[3] not in _ADD_AS_MANY:
            return False
        return all(_BRACKETED.fullmatch(token.content) for token in library.get_added_tokens_decoder().values())

    def unknown_words(self, text: str) -> list[tuple[int, int]]:
        """(start, end) in code points of what WordPiece takes for one unknown token, single characters aside; no other model has such words."""
        unknown = getattr(self._library.model, "unk_token", None) if type(self._library.model).__name__ == "WordPiece" else None
        if unknown is None:
            return []
        encoding, wanted = self._library.encode(text, add_special_tokens=False), self._library.token_to_id(unknown)
        found = (place for token, place in zip(encoding.ids, encoding.offsets, strict=True) if token == wanted)
        return [(start, end) for start, end in found if end - start > 1]


def _joined(rows: Sequence[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate(rows) if rows else np.empty(0, kind)


def _last_points(offsets: np.ndarray, prefix: int, suffix: int) -> np.ndarray:
    """offsets: [L, 2] of one row. Of a blank byte-level tokenizers may give the place after it, as begin and end."""
    places = np.maximum.accumulate(np.maximum(offsets[:, 1] - 1, 0)) if len(offsets) else np.empty(0, np.int64)
    places[:prefix], places[len(places) - suffix :] = -1, PAST
    return places


def cut_rows(rows: WholeRows, max_tokens: int, *, prefix: int, suffix: int, left: bool) -> tuple[WholeRows, np.ndarray]:
    """The rows at `max_tokens` ids at most, and how many each lost: [B] int32.

    prefix, suffix: special tokens at either end of every row, fewer than max_tokens; they stay. left: the beginning of a text is dropped, not its end.
    """
    lengths = np.diff(rows.offsets)
    surplus = np.maximum(lengths - max_tokens, 0)
    dropped = surplus.astype(np.int32)
    long = np.flatnonzero(surplus)
    if not len(long):
        return rows, dropped
    first = rows.offsets[long] + (prefix if left else max_tokens - suffix)
    begins, ends = [0, *(first + surplus[long]).tolist()], [*first.tolist(), len(rows.input_ids)]
    offsets = np.zeros_like(rows.offsets)
    np.cumsum(lengths - surplus, out=offsets[1:])
    kept = np.concatenate([rows.input_ids[begin:end] for begin, end in zip(begins, ends, strict=True)])  # few rows are long: no step for each id
    return WholeRows(kept, offsets), dropped


def differing_rows(one: WholeRows, other: WholeRows) -> np.ndarray:
    """Places of the rows whose ids are not the same: [D] int64, ascending. Both have as many rows."""
    if np.array_equal(one.offsets, other.offsets):
        unequal = np.flatnonzero(one.input_ids != other.input_ids)
        return np.unique(np.searchsorted(one.offsets, unequal, side="right") - 1)
    lengths = np.diff(one.offsets), np.diff(other.offsets)
    pairs = zip(np.split(one.input_ids, one.offsets[1:-1]), np.split(other.input_ids, other.offsets[1:-1]), strict=True)
    return np.array([row for row, (a, b) in enumerate(pairs) if lengths[0][row] != lengths[1][row] or not np.array_equal(a, b)], np.int64)
