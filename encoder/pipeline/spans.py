"""Texts of which stretches get vectors: one forward pass over a text, and the mean over the tokens of each stretch ("late chunking").

    batches -> tokenised with the place of each token -> packed, with the rows of each stretch -> Runner -> batches again

The next batch is tokenised while one is being computed. A vector depends on its text and its stretch alone, whatever is packed beside them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from embermill.encoder.pipeline.batching import PackedBatch, pack
from embermill.encoder.pipeline.runner import Runner, Written
from embermill.encoder.pipeline.stream import Budget
from embermill.encoder.pipeline.windows import EncodedBatch
from embermill.encoder.text.tokenizer import TokenizedTexts

AHEAD = 1  # batches that are under way while the caller waits for one


class SpannedText(NamedTuple):
    """spans: (start, end) in code points of what gets a vector: the mean over the tokens that end there, special tokens and the prompt left out.

    Of a span without any token all of the text is taken. None at all: the text gets one vector, special tokens and all, as without spans.
    """

    text: str
    spans: Sequence[tuple[int, int]] = ()


TokenizeWithPlaces = Callable[[Sequence[str]], tuple[TokenizedTexts, np.ndarray]]


def encode_spans(
    batches: Iterable[Sequence[SpannedText]], tokenize: TokenizeWithPlaces, runner: Runner, dimension: int, budget: Budget
) -> Iterator[EncodedBatch]:
    """One EncodedBatch for each batch, in order: a row for each span, or for a text without any, in the order of the texts."""
    waiting = deque[_Submitted]()
    for batch in batches:
        waiting.append(_submit(batch, tokenize, runner, dimension, budget))
        if len(waiting) > AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


class _Submitted(NamedTuple):
    batch: EncodedBatch
    written: list[Written]

    def result(self) -> EncodedBatch:
        for written in self.written:
            written.result()
        return self.batch


class Stretches(NamedTuple):
    """first: [B+1], which of the stretches are each text's. rows: [S, 2] int32, from its first id on. num_tokens: [S] int32, that are in the mean."""

    first: np.ndarray
    rows: np.ndarray
    num_tokens: np.ndarray


def _submit(batch: Sequence[SpannedText], tokenize: TokenizeWithPlaces, runner: Runner, dimension: int, budget: Budget) -> _Submitted:
    tokens, places = tokenize([each.text for each in batch])
    found = stretches([each.spans for each in batch], tokens, places, budget.prompt_tokens)
    dropped = np.repeat(tokens.num_tokens_dropped, np.diff(found.first))
    embeddings = np.empty((len(found.rows), dimension), np.float32)
    packed = pack(tokens.input_ids, tokens.offsets, budget.max_batch_tokens, budget.row_block)
    written = runner.submit([with_spans(each, found) for each in packed], embeddings)
    return _Submitted(EncodedBatch(embeddings, found.num_tokens, dropped), written)


def stretches(spans: Sequence[Sequence[tuple[int, int]]], tokens: TokenizedTexts, places: np.ndarray, skip: int) -> Stretches:
    """places: [N] of each id, ascending in a text. skip: ids at the beginning of a text that are in no mean."""
    first, rows, counts = [0], list[tuple[int, int]](), list[int]()
    for of_text, begin, end in zip(spans, tokens.offsets[:-1].tolist(), tokens.offsets[1:].tolist(), strict=True):
        length, whole = end - begin, (min(skip, end - begin), end - begin)
        edges = np.searchsorted(places[begin:end], np.array(of_text, np.int64).reshape(-1, 2)).tolist()
        found = [(start, stop) if start < stop else whole for start, stop in edges] or [whole]
        rows += found
        counts += [stop - start for start, stop in found] if edges else [length]
        first.append(len(rows))
    return Stretches(np.array(first), np.array(rows, np.int32).reshape(-1, 2), np.array(counts, np.int32))


def with_spans(batch: PackedBatch, found: Stretches) -> PackedBatch:
    """batch: of these texts, packed. Its spans are those of its texts."""
    counts = np.diff(found.first)[batch.order]
    before = np.cumsum(counts) - counts
    order = np.repeat(found.first[batch.order] - before, counts) + np.arange(counts.sum())
    starts = np.repeat(batch.cu_seqlens[: batch.num_sequences], counts)
    return batch._replace(order=order, spans=found.rows[order] + starts[:, None])
