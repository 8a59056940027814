"""Rows that are refused only after the engine has seen them: their vectors, if there are any, go nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa

from embermill.jobs.corpus.chunk_columns import ChunkColumns
from embermill.jobs.corpus.rows import Refusal, RowBatch
from embermill.jobs.engine import Embedded


def refuse_failed(batch: RowBatch, embedded: Embedded | None, failed: Mapping[int, str]) -> tuple[RowBatch, Embedded | None]:
    """embedded: of the rows that are not in `failed`. Both without the rows that are refused, which of chunks are more: those of their documents."""
    shorter, stay = refuse_rows(batch, "encoder_failed", failed)
    if embedded is None or len(stay) == len(embedded.num_tokens):
        return shorter, embedded
    answered = np.setdiff1d(np.arange(len(batch.ids)), np.fromiter(failed, np.int64, len(failed)))
    left = np.searchsorted(answered, stay)
    return shorter, embedded.take(left) if len(stay) else None


def refuse_rows(batch: RowBatch, reason: str, errors: Mapping[int, str]) -> tuple[RowBatch, np.ndarray]:
    """errors: place among the batch's texts -> why. The batch without those rows, which stand among its refused ones; the places that are left, [B'] int64."""
    if batch.chunks is not None:
        return _refuse_documents(batch, batch.chunks, reason, errors)
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


def _refuse_documents(batch: RowBatch, chunks: ChunkColumns, reason: str, errors: Mapping[int, str]) -> tuple[RowBatch, np.ndarray]:
    """A document is written whole or refused whole, and counts once."""
    first = dict[int, int]()
    for place in sorted(errors):
        first.setdefault(int(chunks.documents[place]), place)
    stay = np.flatnonzero(~np.isin(chunks.documents, np.fromiter(first, np.int64, len(first))))
    chosen = pa.array(stay)
    ids = next(iter(chunks.columns.values()))
    refused = [
        replace(_refuse(batch, place, reason, f"chunk {batch.ids[place].as_py()}: {errors[place]}"), id=str(ids[place].as_py()), text_bytes=None)
        for place in first.values()
    ]
    shorter = replace(
        batch,
        num_rows=len(stay) + len(refused) + sum(refusal.row_count for refusal in batch.refused),
        rows=batch.rows[stay],
        ids=batch.ids.take(chosen),
        texts=batch.texts.take(chosen),
        kept=tuple(column.take(chosen) for column in batch.kept),
        refused=tuple(sorted((*batch.refused, *refused), key=lambda refusal: refusal.row)),
        chunks=chunks.take(stay),
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
