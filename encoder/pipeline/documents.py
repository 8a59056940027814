"""What a caller hands over, cut into pieces: lists of strings and Arrow arrays, lists of token ids and flat arrays of them.

Arrow arrays are known by their methods, so that pyarrow need not be there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from numbers import Integral
from typing import Any

import numpy as np

from embermill.encoder.errors import InputError
from embermill.encoder.pipeline.stream import Slice
from embermill.encoder.text.tokenizer import TokenizedTexts

CHARACTERS_PER_TOKEN = 4  # of English text; only sizes depend on it
TEXTS_AT_ONCE = 1024  # Arrow values that become Python strings together
TEXTS_OF_A_PIECE = 4096


def each_batch(batches: Any) -> Iterator[Any]:
    """An iterator over the batches. Raises InputError, before anything is read, for what cannot hold any."""
    if not _is_collection(batches, "__iter__"):
        raise InputError(f"expected batches of texts (an iterable of lists of strings or Arrow string arrays), got {type(batches).__name__}.")
    return iter(batches)


def as_batch(texts: Any) -> tuple[Any, bool]:
    """(a batch of texts that can be indexed, whether it was one text alone), from any iterable. Raises InputError for what holds no texts."""
    if isinstance(texts, str):
        return [texts], True
    if _is_collection(texts, "__len__", "__getitem__") and not hasattr(texts, "iloc"):  # a pandas Series is indexed by its labels
        return texts, False
    if not _is_collection(texts, "__iter__"):
        raise InputError(f"expected texts (a string, or an iterable of strings such as a list or an Arrow array), got {type(texts).__name__}.")
    return list(texts), False


def require_whole_number(name: str, value: object) -> None:
    """InputError for a number that is neither None nor a whole number from 1 up."""
    if value is not None and (not isinstance(value, Integral) or isinstance(value, bool) or value < 1):
        raise InputError(f"{name}={value!r}: expected a whole number from 1 up.")


def cut_texts(batch: Any, window_tokens: int) -> Iterator[Slice]:
    """Pieces of about `window_tokens` tokens, or TEXTS_OF_A_PIECE texts; one empty piece for an empty batch. Raises InputError for what is no text."""
    budget = window_tokens * CHARACTERS_PER_TOKEN
    if (lengths := _lengths_in_arrow(batch)) is not None:
        yield from _cut_array(batch, lengths, budget)
        return
    piece: list[str] = []
    first, characters = 0, 0
    for text in _strings(batch):
        if piece and (characters + len(text) > budget or len(piece) >= TEXTS_OF_A_PIECE):
            yield Slice(piece, first, len(batch), last=False)
            first, characters, piece = first + len(piece), 0, []
        piece.append(text)
        characters += len(text)
    yield Slice(piece, first, len(batch), last=True)


def _lengths_in_arrow(batch: Any) -> np.ndarray | None:
    """[B] characters of each text of an Arrow string array without nulls; None for any other batch, whose texts are looked at one by one."""
    if not hasattr(batch, "null_count") or not hasattr(batch, "to_pylist"):
        return None
    import pyarrow as pa
    import pyarrow.compute as pc

    if not isinstance(batch, pa.Array) or batch.null_count or not (pa.types.is_string(batch.type) or pa.types.is_large_string(batch.type)):
        return None
    lengths: np.ndarray = pc.utf8_length(batch).to_numpy(zero_copy_only=False).astype(np.int64)
    return lengths


def _cut_array(batch: Any, lengths: np.ndarray, budget: int) -> Iterator[Slice]:
    """The same pieces, with no step for each text."""
    ends, first = np.cumsum(lengths), 0
    while True:
        before = int(ends[first - 1]) if first else 0
        fit = int(np.searchsorted(ends, before + budget, side="right"))
        end = min(max(fit, first + 1), first + TEXTS_OF_A_PIECE, len(lengths))
        yield Slice(batch[first:end].to_pylist(), first, len(lengths), last=end >= len(lengths))
        first = end
        if first >= len(lengths):
            return


def _strings(batch: Any) -> Iterator[str]:
    """The batch's strings, one after another, checked."""
    if not _is_collection(batch, "__len__", "__getitem__"):
        raise InputError(f"expected a batch of texts (a list of strings or an Arrow string array), got {type(batch).__name__}.")
    index = 0
    for start in range(0, len(batch), TEXTS_AT_ONCE):
        part = batch[start : start + TEXTS_AT_ONCE]
        for text in part.to_pylist() if hasattr(part, "to_pylist") else part:
            if not isinstance(text, str):
                raise InputError(f"text {index}: expected a string, got {'null' if text is None else type(text).__name__}.")
            yield text
            index += 1


def cut_token_ids(ids: Any, offsets: Any, vocab_size: int, position_limit: int, window_tokens: int) -> Iterator[Slice]:
    """Pieces of about `window_tokens` tokens. Raises InputError, naming the document, for ids that the model cannot take."""
    flat, bounds = _flattened(ids, offsets)
    lengths = np.diff(bounds)
    if (bad := _first(lengths < 1)) is not None:
        raise InputError(f"document {bad}: no token ids; expected at least one (an empty text is its special tokens).")
    if (bad := _first(lengths > position_limit)) is not None:
        raise InputError(f"document {bad}: {lengths[bad]} token ids; this model has positions for {position_limit}. Cut it first, keeping its special tokens.")
    if (bad := _first((flat < 0) | (flat >= vocab_size))) is not None:
        document = int(np.searchsorted(bounds, bad, "right")) - 1
        raise InputError(f"document {document}: token id {flat[bad]}; this model's vocabulary has ids from 0 to {vocab_size - 1}.")
    flat = flat.astype(np.int32, copy=False)
    begin, num_documents = 0, len(lengths)
    while True:
        end = max(begin + 1, int(np.searchsorted(bounds, bounds[begin] + window_tokens, "right")) - 1) if begin < num_documents else begin
        tokens = TokenizedTexts(flat[bounds[begin] : bounds[end]], bounds[begin : end + 1] - bounds[begin], np.zeros(end - begin, np.int32))
        yield Slice(tokens, begin, num_documents, last=end >= num_documents)
        begin = end
        if begin >= num_documents:
            return


def _flattened(ids: Any, offsets: Any) -> tuple[np.ndarray, np.ndarray]:
    """Flat ids and int64 offsets [B+1]."""
    if offsets is None:
        if isinstance(ids, np.ndarray) and ids.dtype != object and ids.ndim != 2:
            raise InputError(f"expected lists of token ids, or a flat array with offsets=; got an array of shape {ids.shape} alone.")
        if not _is_collection(ids, "__iter__"):
            raise InputError(f"expected lists of token ids, or a flat array with offsets=; got {type(ids).__name__}.")
        documents = [_as_document(number, document) for number, document in enumerate(ids)]
        offsets = np.concatenate([[0], np.cumsum([len(document) for document in documents], dtype=np.int64)]).astype(np.int64)
        filled = [document for document in documents if len(document)]
        ids = np.concatenate(filled) if filled else np.empty(0, np.int32)
    flat, bounds = np.asarray(ids), np.asarray(offsets)
    if flat.ndim != 1 or (flat.size and flat.dtype.kind not in "iu"):
        raise InputError(f"expected flat whole-number token ids, got an array of {flat.dtype} with shape {flat.shape}.")
    rises = bounds.ndim == 1 and len(bounds) > 0 and bounds.dtype.kind in "iu" and not (np.diff(bounds.astype(np.int64)) < 0).any()
    if not rises or bounds[0] != 0 or bounds[-1] != len(flat):
        raise InputError(f"expected offsets that rise from 0 to {len(flat)}, the number of ids, got {_shown(bounds)}.")
    return flat, bounds.astype(np.int64)


def _as_document(number: int, document: Any) -> np.ndarray:
    """[N] ids, still of any type."""
    if _is_collection(document, "__len__"):
        with contextlib.suppress(ValueError):  # lists of several lengths within one
            ids = np.asarray(document)
            if ids.ndim == 1:
                return ids
    raise InputError(f"document {number}: expected a flat list of token ids, got {document!r:.80}.")


def _is_collection(value: Any, *methods: str) -> bool:
    """Whether it holds things in the way of these methods; a string and a mapping do, but not what is wanted here."""
    return all(hasattr(value, method) for method in methods) and not isinstance(value, (str, bytes, Mapping))


def _first(mask: np.ndarray) -> int | None:
    return int(mask.argmax()) if mask.any() else None


def _shown(values: np.ndarray) -> str:
    return np.array2string(values, threshold=6) if values.ndim else str(values)
