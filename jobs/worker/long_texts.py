"""Texts that the model did not take whole. `model.on_long_text: error`: such rows go to the quarantine, and their vectors go nowhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from embermill.counts import agreeing, several
from embermill.jobs.corpus.rows import RowBatch
from embermill.jobs.engine import Embedded
from embermill.jobs.errors import EngineError
from embermill.jobs.worker.refused_rows import refuse_rows


def judge_lengths(batch: RowBatch, embedded: Embedded, refuse: bool) -> tuple[RowBatch, Embedded]:
    """refuse: model.on_long_text: error. Of chunks the tokens that a prefix lost are the dropped ones.

    EngineError where the engine drops any itself of a chunk, which fits by the engine's own count.
    """
    if batch.chunks is None or len(embedded.num_tokens_dropped) != len(batch.chunks.dropped):  # the writer says what is wrong with the latter
        return without_long_texts(batch, embedded) if refuse else (batch, embedded)
    if np.any(embedded.num_tokens_dropped):
        raise EngineError("the engine cut off tokens of a chunk that fits by its own count_tokens")
    return batch, replace(embedded, num_tokens_dropped=batch.chunks.dropped)


def without_long_texts(batch: RowBatch, embedded: Embedded) -> tuple[RowBatch, Embedded]:
    """The rows whose text the model took whole, and what was made of them; the others are refused."""
    if not embedded.num_tokens_dropped.any():
        return batch, embedded
    shorter, stay = refuse_rows(batch, "text_over_limit", {int(at): _describe(embedded, int(at)) for at in np.flatnonzero(embedded.num_tokens_dropped)})
    return shorter, embedded.take(stay)


def _describe(embedded: Embedded, at: int) -> str:
    tokens, dropped = int(embedded.num_tokens[at]), int(embedded.num_tokens_dropped[at])
    return f"the text has {several(dropped, 'token')} more than the model takes; {tokens} {agreeing(tokens, 'was', 'were')} left of it"
