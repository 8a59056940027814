"""What streams and runners are tested with: a Program that adds up ids, and batches of documents that are tokenised already."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

from embermill.encoder.pipeline.batching import PackedBatch
from embermill.encoder.pipeline.stream import Budget, Slice
from embermill.encoder.text.tokenizer import TokenizedTexts

BUDGET = Budget(max_batch_tokens=8, row_block=1, window_tokens=24, tokenize_threads=2)


class Sums:
    """A Program whose embedding is the sum of a document's ids; `act` is called with each batch before it is computed."""

    depth = 2

    def __init__(self, act: Callable[[PackedBatch], None] = lambda batch: None) -> None:
        self.act, self.closed, self.most_in_flight, self.in_flight = act, False, 0, 0

    def submit(self, batch: PackedBatch) -> Sum:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        return Sum(self, batch)

    def close(self) -> None:
        self.closed = True


class Sum:
    def __init__(self, program: Sums, batch: PackedBatch) -> None:
        self.program, self.batch = program, batch

    def result(self) -> np.ndarray:
        self.program.in_flight -= 1
        self.program.act(self.batch)
        return np.add.reduceat(self.batch.input_ids, self.batch.cu_seqlens[:-1])[:, None].astype(np.float32)


def tokenize(documents: list[list[int]], first: int) -> TokenizedTexts:
    lengths = [len(document) for document in documents]
    flat = np.array([token for document in documents for token in document], np.int32)
    return TokenizedTexts(flat, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), np.zeros(len(documents), np.int32))


def whole(batch: list[list[int]]) -> Iterator[Slice]:
    yield Slice(batch, 0, len(batch), last=True)


def in_pieces(batch: list[list[int]]) -> Iterator[Slice]:
    for first in range(0, max(1, len(batch)), 3):
        yield Slice(batch[first : first + 3], first, len(batch), last=first + 3 >= len(batch))


def random_batches(count: int) -> list[list[list[int]]]:
    random = np.random.default_rng(count)
    return [[random.integers(1, 100, random.integers(1, 12)).tolist() for _ in range(random.integers(0, 9))] for _ in range(count)]


def comes_true(condition: Callable[[], bool]) -> bool:
    """Within ten seconds; for what a thread does after it has said that it is through."""
    deadline_s = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline_s:
        time.sleep(0.001)
    return condition()
