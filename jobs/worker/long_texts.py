"""`model.on_long_text: error`: rows whose text was cut off go to the quarantine, and their vectors go nowhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from embermill.jobs.corpus.rows import Refusal, RowBatch
from embermill.jobs.engine import Embedded


def without_long_texts(batch: RowBatch, embedded: Embedded) -> tuple[RowBatch, Embedded]:
    """The rows whose text the model took whole, and what was made of them; the others are refused."""
    if not embedded.num_tokens_dropped.any():
        return batch, embedded
    refused = [_refuse(batch, embedded, int(at)) for at in np.flatnonzero(embedded.num_tokens_dropped)]
    stay = np.flatnonzero(embedded.num_tokens_dropped == 0)
    chosen = pa.array(stay)
    shorter = replace(
        batch,
        rows=batch.rows[stay],
        ids=batch.ids.take(chosen),
        texts=batch.texts.take(chosen),
        kept=tuple(column.take(chosen) for column in batch.kept),
        refused=tuple(sorted((*batch.refused, *refused), key=lambda refusal: refusal.row)),
    )
    columns = {name: vectors[stay] for name, vectors in embedded.columns.items()}
    return shorter, Embedded(columns, embedded.num_tokens[stay], embedded.num_tokens_dropped[stay])


def _refuse(batch: RowBatch, embedded: Embedded, at: int) -> Refusal:
    row, tokens, dropped = int(batch.rows[at]), int(embedded.num_tokens[at]), int(embedded.num_tokens_dropped[at])
    file, first_row, first_byte = batch.locate(row)
    return Refusal(
        row=row,
        row_count=1,
        id=str(batch.ids[at].as_py()),
        file=file,
        first_row=first_row,
        first_byte=first_byte,
        reason="text_over_limit",
        error=f"the text has {dropped} tokens more than the model takes; {tokens} were left of it",
        text_bytes=len(batch.texts[at].as_py().encode()),
    )
