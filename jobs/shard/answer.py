"""What an engine answered, checked before anything of it is stored: shape, type, finite values, token counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from embermill.counts import several
from embermill.jobs.corpus.rows import RowBatch
from embermill.jobs.engine import Embedded, StoredRows
from embermill.jobs.errors import EngineError
from embermill.jobs.partition import Partition
from embermill.jobs.plan.files import Plan
from embermill.jobs.shard.contents import all_finite, first_not_finite
from embermill.jobs.vectors.codec import encode


@dataclass(frozen=True)
class CheckedAnswer:
    """vectors: column of the plan -> [B, width], as it is stored. num_tokens, num_tokens_dropped: [B] int32, not negative.

    values_clipped: numbers of the engine's vectors that were too large for their codes.
    """

    vectors: dict[str, np.ndarray]
    num_tokens: np.ndarray
    num_tokens_dropped: np.ndarray
    values_clipped: int = 0


def check_answer(embedded: Embedded, batch: RowBatch, plan: Plan, partition: Partition) -> CheckedAnswer:
    """What is to be stored of it. Raises EngineError naming the row, or what was expected and what came."""
    num_tokens = _check_counts("num_tokens", embedded.num_tokens, batch, partition)
    num_tokens_dropped = _check_counts("num_tokens_dropped", embedded.num_tokens_dropped, batch, partition)
    if embedded.stored is not None and embedded.stored.rows.all():
        return CheckedAnswer(embedded.stored.columns, num_tokens, num_tokens_dropped)
    made = {output.column: _check_vectors(embedded, output.column, (len(batch.ids), output.dim), batch, partition) for output in plan.outputs}
    vectors, clipped = _encoded(plan, made) if plan.vectors else (made, 0)
    if embedded.stored is not None:
        vectors = _with_stored(vectors, embedded.stored)
    return CheckedAnswer(vectors, num_tokens, num_tokens_dropped, clipped)


def _encoded(plan: Plan, made: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], int]:
    """made: output column -> [B, dim] float32."""
    stored = {form.column: encode(form, made[form.source]) for form in plan.vectors}
    return {column: codes for column, (codes, _) in stored.items()}, sum(clipped for _, clipped in stored.values())


def _with_stored(vectors: dict[str, np.ndarray], stored: StoredRows) -> dict[str, np.ndarray]:
    """Rows that are copied keep their codes, byte for byte."""
    return {column: np.where(stored.rows[:, None], stored.columns[column], codes) for column, codes in vectors.items()}


def _check_vectors(embedded: Embedded, column: str, shape: tuple[int, int], batch: RowBatch, partition: Partition) -> np.ndarray:
    if column not in embedded.columns:
        raise EngineError(f"the engine gave no column {column!r}; it gave {', '.join(sorted(embedded.columns)) or 'none'}")
    vectors = np.asarray(embedded.columns[column])
    if vectors.shape != shape or vectors.dtype != np.float32:
        came = f"{vectors.dtype} {list(vectors.shape)}"
        raise EngineError(f"column {column!r}: expected float32 {list(shape)} for {_name_row(batch, 0, partition)} and those after it, the engine gave {came}")
    if not all_finite(vectors):
        row = first_not_finite(vectors)
        bad = vectors[row][~np.isfinite(vectors[row])]
        raise EngineError(f"column {column!r}: the engine gave {bad[0]} in {bad.size} of {several(shape[1], 'place')} for {_name_row(batch, row, partition)}")
    return vectors


def _check_counts(name: str, counts: np.ndarray, batch: RowBatch, partition: Partition) -> np.ndarray:
    counts = np.asarray(counts)
    if counts.shape != (len(batch.ids),) or counts.dtype.kind not in "iu":
        came = f"{counts.dtype} {list(counts.shape)}"
        raise EngineError(f"{name}: expected {len(batch.ids)} integers for {_name_row(batch, 0, partition)} and those after it, the engine gave {came}")
    if counts.min() < 0 or counts.max() > np.iinfo(np.int32).max:
        row = int(np.flatnonzero((counts < 0) | (counts > np.iinfo(np.int32).max))[0])
        raise EngineError(f"{name}: the engine gave {counts[row]} for {_name_row(batch, row, partition)}")
    return counts.astype(np.int32, copy=False)


def _name_row(batch: RowBatch, index: int, partition: Partition) -> str:
    return f"row {batch.rows[index]} of partition {partition.number} (id {batch.ids[index].as_py()!r})"
