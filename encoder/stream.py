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

from encoder.batching import PackedBatch, pack
from encoder.channel import Channel, ChannelClosed
from encoder.runner import Embeddings, Runner
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
    """Documents of one batch that are tokenised together. content: what `tokenize` takes. first: where they stand in the batch. last: none follow."""

    content: Any
    first: int
    last: bool


class Budget(NamedTuple):
    """Sizes of a stream. Rows of a packed batch and the block at which a document starts are the ops'; a window is this many tokens; threads tokenise."""

    max_batch_tokens: int
    row_block: int
    window_tokens: int
    tokenize_threads: int


class _Window:
    """Documents that were packed together: their embeddings, once computed, in the order in which they came."""

    def __init__(self, num_documents: int, batches: list[PackedBatch], futures: list[Embeddings]) -> None:
        self.num_documents, self.batches, self.futures = num_documents, batches, futures
        self.gathered: np.ndarray | None = None

    def embeddings(self, dimension: int) -> np.ndarray:
        if self.gathered is None:
            self.gathered = np.empty((self.num_documents, dimension), np.float32)
            for batch, future in zip(self.batches, self.futures, strict=True):
                self.gathered[batch.order] = future.result()
            self.batches, self.futures = [], []
        return self.gathered


class _Batch:
    """A caller's batch on its way: its tokenised pieces, and for each the window and the documents of that window that it is."""

    def __init__(self) -> None:
        self.tokens: list[TokenizedTexts] = []
        self.parts: list[tuple[_Window, slice]] = []

    def encoded(self, dimension: int) -> EncodedBatch:
        """Waits for the embeddings."""
        parts = [window.embeddings(dimension)[documents] for window, documents in self.parts]
        return EncodedBatch(
            _joined(parts, np.empty((0, dimension), np.float32)),
            _joined([piece.num_tokens for piece in self.tokens], np.empty(0, np.int32)),
            _joined([piece.num_tokens_dropped for piece in self.tokens], np.empty(0, np.int32)),
        )


def encode_stream(batches: Iterable[Iterator[Piece]], tokenize: Tokenize, runner: Runner, dimension: int, budget: Budget) -> Iterator[EncodedBatch]:
    """One EncodedBatch for each iterator of pieces, in order. `batches` is read in a thread of ours; what it or a stage raises comes out here, in its turn."""
    stream = _Stream(tokenize, runner, budget)
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
    def __init__(self, tokenize: Tokenize, runner: Runner, budget: Budget) -> None:
        self._tokenize, self._runner, self._budget = tokenize, runner, budget
        self._pool = ThreadPoolExecutor(budget.tokenize_threads, thread_name_prefix="encoder-tokenize")
        self._tokenized: Channel[tuple[Piece, Future[TokenizedTexts]] | BaseException] = Channel(capacity=budget.tokenize_threads + 2)
        self.outgoing: Channel[_Batch | BaseException] = Channel(BATCHES_WAITING)
        self._current = _Batch()
        self._finished: list[_Batch] = []
        self._open: list[tuple[_Batch, TokenizedTexts]] = []  # the window that is being filled
        self._open_tokens = self._open_documents = 0
        self._in_flight: list[Embeddings] = []
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
            self._open.append((batch, tokens))
            self._open_tokens += len(tokens.input_ids)
            self._open_documents += len(tokens.num_tokens_dropped)
        if piece.last:
            self._finished.append(batch)
            self._current = _Batch()
        if self._open_tokens >= self._budget.window_tokens or self._open_documents >= DOCUMENTS_PER_WINDOW or not self._open:
            self._send_window()

    def _send_window(self) -> None:
        if self._open:
            input_ids = _joined([tokens.input_ids for _, tokens in self._open], np.empty(0, np.int32))
            offsets = np.concatenate([[0], np.cumsum(np.concatenate([tokens.num_tokens for _, tokens in self._open]))])
            batches = list(pack(input_ids, offsets, self._budget.max_batch_tokens, self._budget.row_block))
            window = _Window(len(offsets) - 1, batches, self._runner.submit(batches))
            self._in_flight = [future for future in self._in_flight if not future.done()] + window.futures
            if self._left:  # while it was being submitted
                self._cancel()
            first = 0
            for batch, tokens in self._open:
                batch.parts.append((window, slice(first, first := first + len(tokens.num_tokens_dropped))))
            self._open = []
            self._open_tokens = self._open_documents = 0
        for batch in self._finished:
            self.outgoing.put(batch)
        self._finished = []

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
