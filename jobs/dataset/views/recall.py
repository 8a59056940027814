"""How many of a row's ten nearest each column of vectors finds, of those that the widest one finds: by comparing the dataset's own rows with all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from embermill.counts import several
from embermill.jobs.dataset.metadata.versions import read_version
from embermill.jobs.dataset.views.live import LiveRows
from embermill.jobs.errors import UsageError
from embermill.jobs.plan.files import require_plan
from embermill.jobs.shard.contents import to_matrix
from embermill.jobs.storage import Folder
from embermill.jobs.vectors.codec import decode
from embermill.jobs.vectors.form import BITS, FLOAT16, FLOAT32, INT8, SYMMETRIC, UBINARY, StoredVector, words

K, CANDIDATES = 10, 40  # nearest rows that count; of bits so many are found, and put in order by another column
SEED = 10
SMALLEST_NORM = 1e-12
BATCH_ROWS = 4_096


@dataclass(frozen=True)
class ColumnRecall:
    """recall: of the ten nearest by `against`, the share that this column finds. rescored: the same for bits, whose 40 nearest are put in order by the
    column `rescored_by`."""

    column: str
    form: str
    bytes: int
    recall: float
    rescored: float | None = None
    rescored_by: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class RecallReport:
    """queries: rows that were searched for, each left out of its own answers. against: the widest column."""

    queries: int
    rows: int
    against: str
    columns: tuple[ColumnRecall, ...]

    def to_json(self) -> dict[str, Any]:
        return {"queries": self.queries, "rows": self.rows, "against": self.against, "columns": [each.to_json() for each in self.columns]}


def measure_recall(folder: Folder, queries: int) -> RecallReport:
    """Of a finished dataset's newest version. Memory: `queries` vectors of each column, and a batch of rows with its scores. UsageError where there is none."""
    plan, version = require_plan(folder), read_version(folder)
    rows = version.totals["rows"]
    if rows <= K:
        raise UsageError(f"{folder.root}: --recall looks for the {K} nearest of a row, and there are {several(rows, 'row')}")
    live = LiveRows(folder, plan, version)
    chosen = np.sort(np.random.default_rng(SEED).choice(rows, min(queries, rows), replace=False))
    forms = plan.stored
    asked = _rows_at(_batches(live, forms), forms, chosen)
    widest = max(forms, key=_width)
    order = next((form for dtype in (INT8, FLOAT16, FLOAT32) for form in forms if form.dtype == dtype and form.packing in ("", SYMMETRIC)), None)
    nearest = {form.column: _Nearest(len(chosen), CANDIDATES if form.dtype == UBINARY and order is not None else K) for form in forms}
    first = 0
    for batch in _batches(live, forms):
        scores = {form.column: _without_itself(asked[form.column] @ _unit(form, batch[form.column]).T, chosen, first) for form in forms}
        for form in forms:
            nearest[form.column].add(scores[form.column], first, scores[order.column] if order is not None else scores[form.column])
        first += len(next(iter(scores.values()))[0])
    expected = nearest[widest.column].places[:, :K]
    columns = tuple(_recall(form, nearest[form.column], expected, order) for form in forms)
    return RecallReport(len(chosen), rows, widest.column, columns)


def _width(form: StoredVector) -> tuple[int, int]:
    return form.dim * BITS[form.dtype], BITS[form.dtype]


def _batches(live: LiveRows, forms: Sequence[StoredVector]) -> Iterator[dict[str, np.ndarray]]:
    names = [form.column for form in forms]
    for file in live.files():
        for batch in live.read(file, names, 0, BATCH_ROWS):
            yield {name: to_matrix(pa.chunked_array([batch.column(name)])) for name in names}


def _rows_at(batches: Iterator[dict[str, np.ndarray]], forms: Sequence[StoredVector], chosen: np.ndarray) -> dict[str, np.ndarray]:
    """[Q, dim] float32 of length 1, of each column."""
    found, first = {form.column: list[np.ndarray]() for form in forms}, 0
    for batch in batches:
        rows = len(batch[forms[0].column])
        here = chosen[(chosen >= first) & (chosen < first + rows)] - first
        for form in forms:
            found[form.column].append(_unit(form, batch[form.column][here]))
        first += rows
    return {column: np.concatenate(parts) for column, parts in found.items()}


def _unit(form: StoredVector, codes: np.ndarray) -> np.ndarray:
    vectors = decode(form, codes)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), SMALLEST_NORM))


def _without_itself(scores: np.ndarray, chosen: np.ndarray, first: int) -> np.ndarray:
    """scores: [Q, B] of rows from `first` on. A row is as near to itself as can be in any form, which would say nothing of the others."""
    here = np.flatnonzero((chosen >= first) & (chosen < first + scores.shape[1]))
    scores[here, chosen[here] - first] = -np.inf
    return scores


class _Nearest:
    """The nearest rows so far: places [Q, k], nearest first and equal ones in row order, and what another column says of them."""

    def __init__(self, queries: int, k: int) -> None:
        self._k = k
        self.places = np.full((queries, k), -1, np.int64)
        self._scores = np.full((queries, k), -np.inf, np.float32)
        self._others = np.full((queries, k), -np.inf, np.float32)

    def add(self, scores: np.ndarray, first: int, others: np.ndarray) -> None:
        """scores, others: [Q, B] of rows from `first` on."""
        places = np.broadcast_to(np.arange(first, first + scores.shape[1]), scores.shape)
        joined = np.concatenate([self._scores, scores], axis=1)
        best = np.argsort(-joined, axis=1, kind="stable")[:, : self._k]
        self._scores = np.take_along_axis(joined, best, axis=1)
        self.places = np.take_along_axis(np.concatenate([self.places, places], axis=1), best, axis=1)
        self._others = np.take_along_axis(np.concatenate([self._others, others], axis=1), best, axis=1)

    @property
    def rescored(self) -> np.ndarray:
        """[Q, k] places, in the other column's order."""
        return np.asarray(np.take_along_axis(self.places, np.argsort(-self._others, axis=1, kind="stable"), axis=1))


def _recall(form: StoredVector, nearest: _Nearest, expected: np.ndarray, order: StoredVector | None) -> ColumnRecall:
    found = _share(nearest.places[:, :K], expected)
    if form.dtype != UBINARY or order is None:
        return ColumnRecall(form.column, words(form), form.row_bytes, found)
    return ColumnRecall(form.column, words(form), form.row_bytes, found, _share(nearest.rescored[:, :K], expected), order.column)


def _share(found: np.ndarray, expected: np.ndarray) -> float:
    """found, expected: [Q, K] places."""
    return round(float((found[:, :, None] == expected[:, None, :]).any(axis=2).mean()), 6)
