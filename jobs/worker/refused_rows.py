"""Rows that are refused only after the engine has seen them: their vectors, if there are any, go nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa

from embermill.jobs.corpus.rows import Refusal, RowBatch


def refuse_rows(batch: RowBatch, reason: str, errors: Mapping[int, str]) -> tuple[RowBatch, np.ndarray]:
    """errors: place among the batch's texts -> why. The batch without those rows, which stand among its refused ones; the places that are left, [B'] int64."""
    stay = np.setdiff1d(np.arange(len(batch.ids)), np.fromiter(errors, np.int64, len(errors)))
    chosen = pa.array(stay)
    refused = [_refuse(batch, place, reason, error) for place, error in errors.items()]
    shorter = replace(
        batch,
        rows=batch.rows[stay],
        ids=batch.ids.take(chosen),
        texts=batch.texts.take(chosen),
        kept=tuple(column.take(chosen) for column in batch.kept),
        refused=tuple(sorted((*batch.refused, *refused), key=lambda refusal: refusal.row)),
    )
    return shorter, stay


def _refuse(batch: RowBatch, place: int, reason: str, error: str) -> Refusal:
    row = int(batch.rows[place])
    file, first_row, first_byte = batch.locate(row)
    return Refusal(
        row=row,
        row_count=1,
        id=str(batch.ids[place].as_py()),
        file=file,
        first_row=first_row,
        first_byte=first_byte,
        reason=reason,
        error=error,
        text_bytes=len(batch.texts[place].as_py().encode()),
    )
