"""Some rows of a partition, read again: what is written of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from embermill.jobs.corpus.reading import read_rows
from embermill.jobs.corpus.rows import RowBatch, RowSchema
from embermill.jobs.errors import InputChanged
from embermill.jobs.partition import Partition, describe_partition


def read_selected(partition: Partition, schema: RowSchema, rows: np.ndarray) -> Iterator[RowBatch]:
    """The rows of these ordinals (ascending), renumbered from 0. No further is read than to the last of them.

    InputChanged where one is not there any more, or is refused now: it was good when the partition was scanned.
    """
    found = 0
    for batch in read_rows(partition, schema):
        if found == len(rows):
            return
        wanted = rows[found : np.searchsorted(rows, batch.first_row + batch.num_rows)]
        if len(wanted):
            _require_all(batch, partition, wanted)
            yield select(batch, wanted, found)
            found += len(wanted)
    if found < len(rows):
        raise InputChanged(f"input_changed: {describe_partition(partition)}: row {rows[found]} is not there any more")


def _require_all(batch: RowBatch, partition: Partition, wanted: np.ndarray) -> None:
    at = np.searchsorted(batch.rows, wanted)
    if len(batch.rows) < len(wanted) or (at >= len(batch.rows)).any() or (batch.rows[at] != wanted).any():
        raise InputChanged(f"input_changed: {describe_partition(partition)}: a row from {wanted[0]} on was good and is refused now")


def select(batch: RowBatch, wanted: np.ndarray, first: int) -> RowBatch:
    """wanted: ordinals of rows that are all there, ascending. They are numbered from `first` on."""
    take = pa.array(np.searchsorted(batch.rows, wanted))
    origins = []
    for origin in batch.origins:
        held = np.flatnonzero((wanted >= origin.ordinal) & (wanted < origin.ordinal + origin.num_rows))
        if len(held):
            places = wanted[held] - origin.ordinal
            first_row, first_byte = (None if told is None else told[places] for told in (origin.first_row, origin.first_byte))
            origins.append(replace(origin, ordinal=first + int(held[0]), first_row=first_row, first_byte=first_byte, num_rows=len(held)))
    return RowBatch(
        first_row=first,
        num_rows=len(wanted),
        rows=np.arange(first, first + len(wanted), dtype=np.int64),
        ids=batch.ids.take(take),
        texts=batch.texts.take(take),
        kept=tuple(column.take(take) for column in batch.kept),
        origins=tuple(origins),
    )
