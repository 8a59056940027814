"""Batches of texts in, embeddings out, same batches, same order; tokenising, packing and computing overlap across batches.

    caller's batches -> cut into pieces -> tokenised -> windows of documents -> packed -> Runner -> batches again
    `- one thread ------'  `- pool ----'   `- one thread ------------------'    `- its own   `- the caller's thread

Every arrow is a bounded channel: a slow stage stops the ones before it, and nothing here grows with the corpus. Where a window ends
depends on what had arrived; no embedding does, because a document's bits do not depend on its neighbours.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from encoder.batching import pack
from encoder.channel import Channel, ChannelClosed
from encoder.runner import Runner, Written
from encoder.tokenizer import TokenizedTexts

Tokenize = Callable[[Any, int], TokenizedTexts]
LINGER_S = 0.02  # how long a window that is not full waits for more before it goes as it is
BATCHES_WAITING = 4  # finished batches that wait for the caller
DOCUMENTS_PER_WINDOW = 16_384  # very short ones would otherwise fill a window by the million


class EncodedBatch(NamedTuple):
    """One batch of B texts. embeddings: [B, E] float32. num_tokens, num_tokens_dropped: [B] int32 (ids fed to the model; text tokens cut off)."""

    embeddings: np.ndarray
    num_tokens: np.ndarray
    num_tokens_dropped: np.ndarray


class Piece(NamedTuple):
    """Documents of one batch that are tokenised together. content: what `tokenize` takes. first: where they stand in the batch, `of` so many. last: the end."""

    content: Any
    first: int
    of: int
    last: bool


class Budget(NamedTuple):
    """Sizes of a stream. Rows of a packed batch and the block at which a document starts are the ops'; a window is this many tokens; threads tokenise."""

    max_batch_tokens: int
    row_block: int
    window_tokens: int
    tokenize_threads: int


class _Window:
    """Documents that were packed together. embeddings: [B, E], in the order in which they came; to be read when all is `written`."""

    def __init__(self, embeddings: np.ndarray, written: list[Written]) -> None:
        self.embeddings, self.written = embeddings, written

    def wait(self) -> None:
        for batch in self.written:
            batch.result()


class _Part(NamedTuple):
    """Documents of a batch inside a window: `documents` there, from `first` on in the batch."""

    window: _Window
    documents: slice
    first: int


class _Batch:
    """A caller's batch of so many documents on its way: its tokenised pieces, and its parts in windows."""

    def __init__(self) -> None:
        self.tokens: list[TokenizedTexts] = []
        self.parts: list[_Part] = []
        self.taken = 0  # documents that have a window
        self._whole: np.ndarray | None = None

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
            _joined([piece.num_tokens for piece in self.tokens], np.empty(0, np.int32)),
            _joined([piece.num_tokens_dropped for piece in self.tokens], np.empty(0, np.int32)),
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


def encode_stream(batches: Iterable[Iterator[Piece]], tokenize: Tokenize, runner: Runner, dimension: int, budget: Budget) -> Iterator[EncodedBatch]:
    """One EncodedBatch for each iterator of pieces, in order. `batches` is read in a thread of ours; what it or a stage raises comes out here, in its turn."""
    stream = _Stream(tokenize, runner, dimension, budget)
    stream.start(batches)
    try:
        while True:
            try:
                arrived = stream.outgoing.get()
            except ChannelClosed:
                return
            if isinstance(arrived, BaseException):
                raise arrived
            yield arrived.encoded(dimension)
    finally:
        stream.close()


class _Stream:
    def __init__(self, tokenize: Tokenize, runner: Runner, dimension: int, budget: Budget) -> None:
        self._tokenize, self._runner, self._dimension, self._budget = tokenize, runner, dimension, budget
        self._pool = ThreadPoolExecutor(budget.tokenize_threads, thread_name_prefix="encoder-tokenize")
        self._tokenized: Channel[tuple[Piece, Future[TokenizedTexts]] | BaseException] = Channel(capacity=budget.tokenize_threads + 2)
        self.outgoing: Channel[_Batch | BaseException] = Channel(BATCHES_WAITING)
        self._current = _Batch()
        self._finished: list[_Batch] = []
        self._open: list[tuple[_Batch, Piece, TokenizedTexts]] = []  # the window that is being filled
        self._open_tokens = self._open_documents = 0
        self._in_flight: list[Written] = []
        self._left = False  # by the caller, before the end

    def start(self, batches: Iterable[Iterator[Piece]]) -> None:
        threading.Thread(target=self._read, args=(batches,), name="encoder-read", daemon=True).start()
        threading.Thread(target=self._pack, name="encoder-pack", daemon=True).start()

    def close(self) -> None:
        """The caller wants no more: stages end, and what is packed but not begun is not computed."""
        self._left = True
        self.outgoing.close()
        self._tokenized.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._cancel()

    def _cancel(self) -> None:
        for future in self._in_flight:
            future.cancel()

    def _read(self, batches: Iterable[Iterator[Piece]]) -> None:
        """First thread: cut, and hand over to the tokenising pool in order."""
        try:
            for pieces in batches:
                for piece in pieces:
                    self._tokenized.put((piece, self._pool.submit(self._tokenize, piece.content, piece.first)))
            self._tokenized.finish()
        except ChannelClosed:
            pass
        except BaseException as error:
            _offer(self._tokenized, error)

    def _pack(self) -> None:
        """Second thread: gather windows and send them off; a batch goes to the caller when all of it is under way."""
        try:
            while True:
                try:
                    arrived = self._tokenized.get(timeout_s=LINGER_S if self._open else None)
                except TimeoutError:
                    self._send_window()
                    continue
                if isinstance(arrived, BaseException):
                    raise arrived
                self._take(arrived[0], arrived[1].result())
        except ChannelClosed:
            self._end(None)
        except BaseException as error:
            self._end(error)

    def _take(self, piece: Piece, tokens: TokenizedTexts) -> None:
        batch = self._current
        batch.tokens.append(tokens)
        if len(tokens.num_tokens_dropped):
            self._open.append((batch, piece, tokens))
            self._open_tokens += len(tokens.input_ids)
            self._open_documents += len(tokens.num_tokens_dropped)
        if piece.last:
            self._finished.append(batch)
            self._current = _Batch()
        if self._open_tokens >= self._budget.window_tokens or self._open_documents >= DOCUMENTS_PER_WINDOW or not self._open:
            self._send_window()

    def _send_window(self) -> None:
        if self._open:
            input_ids = _joined([tokens.input_ids for *_, tokens in self._open], np.empty(0, np.int32))
            offsets = np.concatenate([[0], np.cumsum(np.concatenate([tokens.num_tokens for *_, tokens in self._open]))])
            embeddings = self._room(len(offsets) - 1)
            batches = pack(input_ids, offsets, self._budget.max_batch_tokens, self._budget.row_block)
            window = _Window(embeddings, self._runner.submit(list(batches), embeddings))
            self._in_flight = [written for written in self._in_flight if not written.done()] + window.written
            if self._left:  # while it was being submitted
                self._cancel()
            first = 0
            for batch, _, tokens in self._open:
                documents = len(tokens.num_tokens_dropped)
                batch.parts.append(_Part(window, slice(first, first + documents), batch.taken))
                batch.taken += documents
                first += documents
            self._open = []
            self._open_tokens = self._open_documents = 0
        for batch in self._finished:
            self.outgoing.put(batch)
        self._finished = []

    def _room(self, documents: int) -> np.ndarray:
        """[documents, E] for the window's embeddings: a stretch of its batch's own, where it holds part of one batch and nothing else."""
        batch, piece, _ = self._open[0]
        if documents == piece.of or any(other is not batch for other, *_ in self._open):
            return np.empty((documents, self._dimension), np.float32)
        return batch.whole(piece.of, self._dimension)[batch.taken : batch.taken + documents]

    def _end(self, error: BaseException | None) -> None:
        try:
            self._send_window()
            if error is not None:
                self.outgoing.put(error)
        except ChannelClosed:
            return
        except BaseException as failure:
            _offer(self.outgoing, failure)
        self.outgoing.finish()


def _offer(channel: Channel[Any], item: object) -> None:
    try:
        channel.put(item)
        channel.finish()
    except ChannelClosed:
        pass


def _joined(arrays: list[np.ndarray], empty: np.ndarray) -> np.ndarray:
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate(arrays) if arrays else empty
