"""What an engine answers, held against what it was asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from jobs.corpus import Refusal, RowBatch
from jobs.engine import Embedded, Output
from jobs.errors import EngineError
from jobs.partition import Partition


def check_answer(batch: RowBatch, embedded: Embedded, outputs: tuple[Output, ...]) -> None:
    """Raises EngineError unless there is one vector and one count for each text."""
    rows = len(batch.texts)
    for output in outputs:
        vectors = embedded.columns.get(output.column)
        came = "nothing" if vectors is None else f"{vectors.dtype} {vectors.shape}"
        if vectors is None or vectors.shape != (rows, output.dim) or vectors.dtype != np.dtype(output.dtype):
            expected = f"{output.column}: {output.dtype} ({rows}, {output.dim})"
            raise EngineError(f"the engine was given {rows} texts and must answer with {expected}; it answered with {came}")
    for name in ("num_tokens", "num_tokens_dropped"):
        counts = getattr(embedded, name)
        if counts.shape != (rows,):
            raise EngineError(f"the engine was given {rows} texts and must answer with {name}: ({rows},); it answered with {counts.shape}")


def without_long_texts(batch: RowBatch, embedded: Embedded, partition: Partition) -> tuple[RowBatch, Embedded]:
    """`model.on_long_text: error`: rows whose text was cut off are refused, their vectors dropped."""
    long = np.flatnonzero(embedded.num_tokens_dropped)
    if not len(long):
        return batch, embedded
    refused = [_too_long(batch, embedded, int(at), partition) for at in long]
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


def _too_long(batch: RowBatch, embedded: Embedded, at: int, partition: Partition) -> Refusal:
    tokens, dropped = int(embedded.num_tokens[at]), int(embedded.num_tokens_dropped[at])
    return Refusal(
        row=int(batch.rows[at]),
        row_count=1,
        id=str(batch.ids[at].as_py()),
        file=partition.segments[0].path if len(partition.segments) == 1 else "",
        first_row=None,
        first_byte=None,
        reason="text_over_limit",
        error=f"the text has {dropped} tokens more than the {tokens} that the model takes",
        text_bytes=len(batch.texts[at].as_py().encode()),
    )
