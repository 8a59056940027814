"""From a caller's batches to windows and back: documents that wait, windows that are computed together, and the batches that are made of their parts."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from embermill.encoder.pipeline.runner import Written
from embermill.encoder.text.tokenizer import TokenizedTexts


class EncodedBatch(NamedTuple):
    """One batch of B texts. embeddings: [B, E] float32. num_tokens, num_tokens_dropped: [B] int32 (ids fed to the model; text tokens cut off)."""

    embeddings: np.ndarray
    num_tokens: np.ndarray
    num_tokens_dropped: np.ndarray


class Window:
    """Documents that were packed together. embeddings: [B, E], in the order in which they came; to be read when all is `written`."""

    def __init__(self, embeddings: np.ndarray, written: list[Written]) -> None:
        self.embeddings, self.written = embeddings, written

    @classmethod
    def failed(cls, error: Exception) -> Window:
        """One that could not be made: the batches that have documents in it fail in their turn."""
        never = Written()
        never.set_exception(error)
        return cls(np.empty((0, 0), np.float32), [never])

    def wait(self) -> None:
        for batch in self.written:
            batch.result()


class Part(NamedTuple):
    """Documents of a batch inside a window: `documents` there, from `first` on in the batch."""

    window: Window
    documents: slice
    first: int


class Batch:
    """A caller's batch on its way: token counts of its pieces, and its parts in windows."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.taken = 0  # documents that have a window
        self._num_documents = 0  # so far
        self._num_tokens: list[np.ndarray] = []
        self._num_tokens_dropped: list[np.ndarray] = []
        self._whole: np.ndarray | None = None

    def note(self, tokens: TokenizedTexts) -> None:
        """Its next piece. The ids are not kept: windows have them for as long as they are needed."""
        self._num_documents += len(tokens.num_tokens_dropped)
        self._num_tokens.append(tokens.num_tokens)
        self._num_tokens_dropped.append(tokens.num_tokens_dropped)

    @property
    def under_way(self) -> bool:
        """Every document that has come has a window."""
        return self.taken == self._num_documents

    def whole(self, of: int, dimension: int) -> np.ndarray:
        """[of, E]: where its embeddings end up when several windows make them. A window of nothing else writes here at once."""
        if self._whole is None:
            self._whole = np.empty((of, dimension), np.float32)
        return self._whole

    def encoded(self, dimension: int) -> EncodedBatch:
        """Waits for the embeddings."""
        for part in self.parts:
            part.window.wait()
        return EncodedBatch(
            self._embeddings(dimension),
            joined(self._num_tokens, np.empty(0, np.int32)),
            joined(self._num_tokens_dropped, np.empty(0, np.int32)),
        )

    def _embeddings(self, dimension: int) -> np.ndarray:
        if len(self.parts) == 1:
            (only,) = self.parts
            return only.window.embeddings[only.documents]
        whole = self.whole(self.taken, dimension)
        for window, documents, first in self.parts:
            if window.embeddings.base is not whole:
                rows = window.embeddings[documents]
                whole[first : first + len(rows)] = rows
        return whole


class Documents(NamedTuple):
    """Tokenised documents of one batch, which has `of` in all. input_ids: [N] int32. offsets: [B+1], as in TokenizedTexts but from any number on."""

    batch: Batch
    of: int
    input_ids: np.ndarray
    offsets: np.ndarray

    @property
    def num_documents(self) -> int:
        return len(self.offsets) - 1

    @property
    def num_tokens(self) -> int:
        return len(self.input_ids)

    def split(self, count: int) -> tuple[Documents, Documents]:
        """The first `count`, and the others. No copies."""
        at = int(self.offsets[count] - self.offsets[0])
        head = Documents(self.batch, self.of, self.input_ids[:at], self.offsets[: count + 1])
        return head, Documents(self.batch, self.of, self.input_ids[at:], self.offsets[count:])


class WaitingDocuments:
    """Documents that no window holds yet, oldest first."""

    def __init__(self) -> None:
        self._documents: deque[Documents] = deque()
        self.num_documents = self.num_tokens = 0

    def __bool__(self) -> bool:
        return bool(self._documents)

    def add(self, documents: Documents) -> None:
        if documents.num_documents:
            self._documents.append(documents)
            self.num_documents += documents.num_documents
            self.num_tokens += documents.num_tokens

    def take(self, max_tokens: int, max_documents: int) -> list[Documents]:
        """Out of it: the oldest that fit, and one at least."""
        taken: list[Documents] = []
        while self._documents:
            documents = self._documents.popleft()
            room = int(np.searchsorted(documents.offsets, documents.offsets[0] + max_tokens, "right")) - 1
            fit = min(max(room, 0 if taken else 1), max_documents, documents.num_documents)
            head, rest = documents.split(fit)
            if fit:
                taken.append(head)
                max_tokens, max_documents = max_tokens - head.num_tokens, max_documents - head.num_documents
            if rest.num_documents:
                self._documents.appendleft(rest)
                break
        self.num_documents -= sum(part.num_documents for part in taken)
        self.num_tokens -= sum(part.num_tokens for part in taken)
        return taken


def joined(arrays: list[np.ndarray], empty: np.ndarray) -> np.ndarray:
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate(arrays) if arrays else empty
