"""`model.on_long_text: error`: rows whose text was cut off go to the quarantine, and their vectors go nowhere."""

from __future__ import annotations

import numpy as np

from embermill.jobs.corpus.rows import RowBatch
from embermill.jobs.engine import Embedded
from embermill.jobs.worker.refused_rows import refuse_rows


def without_long_texts(batch: RowBatch, embedded: Embedded) -> tuple[RowBatch, Embedded]:
    """The rows whose text the model took whole, and what was made of them; the others are refused."""
    if not embedded.num_tokens_dropped.any():
        return batch, embedded
    shorter, stay = refuse_rows(batch, "text_over_limit", {int(at): _describe(embedded, int(at)) for at in np.flatnonzero(embedded.num_tokens_dropped)})
    return shorter, embedded.take(stay)


def _describe(embedded: Embedded, at: int) -> str:
    tokens, dropped = int(embedded.num_tokens[at]), int(embedded.num_tokens_dropped[at])
    return f"the text has {dropped} tokens more than the model takes; {tokens} were left of it"
