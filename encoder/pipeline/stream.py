"""Batches of texts in, embeddings out, same batches, same order; tokenising, packing and computing overlap across batches.

    caller's batches -> cut into pieces -> tokenised -> windows of documents -> packed -> Runner -> batches again
    `- one thread ------'  `- pool ----'   `- one thread ------------------'    `- its own   `- the caller's thread

Every arrow is a bounded channel: a slow stage stops the ones before it, and nothing here grows with the corpus. Where a window ends
depends on what had arrived; no embedding does, because a document's bits do not depend on its neighbours.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from embermill.channel import Channel, ChannelClosed
from embermill.encoder.pipeline.batching import pack
from embermill.encoder.pipeline.runner import Runner, Written
from embermill.encoder.pipeline.windows import Batch, Documents, EncodedBatch, Part, WaitingDocuments, Window, joined
from embermill.encoder.text.tokenizer import TokenizedTexts

Tokenize = Callable[[Any, int], TokenizedTexts]
LINGER_S = 0.05  # how long documents that fill no window wait for more, while nothing else is being computed, before they go as they are
BATCHES_WAITING = 4  # finished batches that wait for the caller
DOCUMENTS_PER_WINDOW = 16_384  # very short ones would otherwise fill a window by the million


class Slice(NamedTuple):
    """Documents of one batch that are tokenised together. content: what `tokenize` takes. first: where they stand in the batch, `of` so many. last: the end."""

    content: Any
    first: int
    of: int
    last: bool


class Budget(NamedTuple):
    """Sizes of a stream. Rows of a packed batch and the block at which a document starts are the ops'; windows hold so many tokens at most.

    prompt_tokens: as many at the start of each document are left out of pooling.
    """

    max_batch_tokens: int
    row_block: int
    window_tokens: int
    tokenize_threads: int
    prompt_tokens: int = 0


def encode_stream(batches: Iterable[Iterator[Slice]], tokenize: Tokenize, runner: Runner, dimension: int, budget: Budget) -> Iterator[EncodedBatch]:
    """One EncodedBatch for each iterator of pieces, in order. `batches` is read in a thread of ours; what it or a stage raises comes out here, in its turn."""
    stream = _EncodeStream(tokenize, runner, dimension, budget)
    try:
        stream.start(batches)
        yield from iter(stream.next_batch, None)  # no name here for a batch: it is the caller's, and nobody else holds it
    finally:
        stream.close()


class _EncodeStream:
    def __init__(self, tokenize: Tokenize, runner: Runner, dimension: int, budget: Budget) -> None:
        self._tokenize, self._runner, self._dimension, self._budget = tokenize, runner, dimension, budget
        self._pool = ThreadPoolExecutor(budget.tokenize_threads, thread_name_prefix="encoder-tokenize")
        self._tokenized: Channel[tuple[Slice, Future[TokenizedTexts]] | BaseException] = Channel(capacity=budget.tokenize_threads + 2)
        self._outgoing: Channel[Batch | BaseException] = Channel(BATCHES_WAITING)
        self._current = Batch()
        self._finished: deque[Batch] = deque()  # read whole; they go to the caller when all of them is under way
        self._waiting = WaitingDocuments()
        self._linger_until_s = 0.0
        self._in_flight: list[Written] = []
        self._left = False  # by the caller, before the end

    def start(self, batches: Iterable[Iterator[Slice]]) -> None:
        threading.Thread(target=self._read, args=(batches,), name="encoder-read", daemon=True).start()
        threading.Thread(target=self._pack, name="encoder-pack", daemon=True).start()

    def next_batch(self) -> EncodedBatch | None:
        """Waits for it; None at the end. Raises what went wrong with it."""
        try:
            arrived = self._outgoing.get()
        except ChannelClosed:
            return None
        if isinstance(arrived, BaseException):
            raise arrived
        return arrived.encoded(self._dimension)

    def close(self) -> None:
        """The caller wants no more: stages end, and what is packed but not begun is not computed."""
        self._left = True
        self._outgoing.close()
        self._tokenized.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._cancel()

    def _cancel(self) -> None:
        for future in self._in_flight:
            future.cancel()

    def _read(self, batches: Iterable[Iterator[Slice]]) -> None:
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
                    arrived = self._tokenized.get(self._patience_s())
                except TimeoutError:
                    self._linger()
                    if all(written.done() for written in self._in_flight):  # else the device has enough to do, and the window may still fill
                        self._send_rest()
                    continue
                if isinstance(arrived, BaseException):
                    raise arrived
                self._take(arrived[0], arrived[1].result())
        except ChannelClosed:
            self._end(None)
        except BaseException as error:
            self._end(error)

    def _patience_s(self) -> float | None:
        """How long to wait for more: as long as what is waiting may linger, however little comes meanwhile."""
        return max(0.0, self._linger_until_s - time.monotonic()) if self._waiting else None

    def _linger(self) -> None:
        self._linger_until_s = time.monotonic() + LINGER_S

    def _take(self, piece: Slice, tokens: TokenizedTexts) -> None:
        batch = self._current
        batch.note(tokens)
        if not self._waiting:
            self._linger()
        self._waiting.add(Documents(batch, piece.of, tokens.input_ids, tokens.offsets))
        if piece.last:
            self._finished.append(batch)
            self._current = Batch()
        while self._waiting.num_tokens >= self._enough_tokens() or self._waiting.num_documents >= DOCUMENTS_PER_WINDOW:
            self._send_window()
        self._give_out()

    def _enough_tokens(self) -> int:
        """For a window: all that it may hold while the device has something to do; one packed batch where it would wait, as at the start of a stream."""
        idle = all(written.done() for written in self._in_flight)
        return max(1, min(self._budget.window_tokens, self._budget.max_batch_tokens)) if idle else self._budget.window_tokens

    def _send_rest(self) -> None:
        while self._waiting:
            self._send_window()
        self._give_out()

    def _send_window(self) -> None:
        documents = self._waiting.take(self._budget.window_tokens, DOCUMENTS_PER_WINDOW)
        try:
            window = self._submitted(documents)
        except Exception as error:
            window = Window.failed(error)
        self._linger()
        self._in_flight = [written for written in self._in_flight if not written.done()] + window.written
        if self._left:  # while it was being submitted
            self._cancel()
        first = 0
        for batch, count in ((part.batch, part.num_documents) for part in documents):
            batch.parts.append(Part(window, slice(first, first + count), batch.taken))
            batch.taken += count
            first += count

    def _submitted(self, documents: list[Documents]) -> Window:
        input_ids = joined([part.input_ids for part in documents], np.empty(0, np.int32))
        offsets = np.concatenate([[0], np.cumsum(np.concatenate([np.diff(part.offsets) for part in documents]))])
        embeddings = self._room(documents)
        batches = pack(input_ids, offsets, self._budget.max_batch_tokens, self._budget.row_block)
        skipping = self._budget.prompt_tokens
        return Window(embeddings, self._runner.submit([batch._replace(prompt_tokens=skipping) for batch in batches], embeddings))

    def _give_out(self) -> None:
        while self._finished and self._finished[0].under_way:
            self._outgoing.put(self._finished.popleft())

    def _room(self, documents: list[Documents]) -> np.ndarray:
        """[documents, E] for a window's embeddings: a stretch of its batch's own, where it holds part of one batch and nothing else."""
        batch, of, count = documents[0].batch, documents[0].of, sum(part.num_documents for part in documents)
        if count == of or any(part.batch is not batch for part in documents):
            return np.empty((count, self._dimension), np.float32)
        return batch.whole(of, self._dimension)[batch.taken : batch.taken + count]

    def _end(self, error: BaseException | None) -> None:
        if self._left:
            return
        try:
            self._send_rest()
            if error is not None:
                self._outgoing.put(error)
        except ChannelClosed:
            return
        except BaseException as failure:
            _offer(self._outgoing, failure)
        self._outgoing.finish()


def _offer(channel: Channel[Any], item: object) -> None:
    try:
        channel.put(item)
        channel.finish()
    except ChannelClosed:
        pass
