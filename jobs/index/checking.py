"""What is compared once a load is done: how many rows there are, some of their vectors, and what a search finds beside what it should."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.counts import agreeing, several
from embermill.jobs.errors import DataError
from embermill.jobs.index import COSINE, L2, UBINARY, Layout, Target

SAMPLED, K = 100, 10
NORMALIZED_TOLERANCE = 1e-6  # of one number of a vector of length 1: what dividing by the length in float32 may differ by
TIE = 1e-6  # of a score, relative: rows as near as the tenth are as good an answer


class Sample:
    """Up to SAMPLED rows, each with the same chance, of all that pass by, as they were last; from several threads."""

    def __init__(self, seed: int | None = None) -> None:
        self._rng = np.random.default_rng(seed)
        self._lock = threading.Lock()
        self._kept: list[tuple[float, Any, pa.RecordBatch]] = []  # draw, id, one row

    def see(self, rows: pa.RecordBatch, id_name: str) -> None:
        with self._lock:
            self._forget(rows.column(id_name))
            draws = self._rng.random(rows.num_rows)
            bound = self._kept[-1][0] if len(self._kept) == SAMPLED else 1.0
            chosen = np.flatnonzero(draws < bound)
            if len(chosen) > SAMPLED:
                chosen = chosen[np.argsort(draws[chosen])[:SAMPLED]]
            taken = rows.take(pa.array(chosen)) if len(chosen) else rows.slice(0, 0)  # a copy: the batch itself need not stay
            kept = zip(chosen, taken.column(id_name).to_pylist(), strict=True)
            self._kept += [(float(draws[row]), each, taken.slice(place, 1)) for place, (row, each) in enumerate(kept)]
            self._kept = sorted(self._kept, key=lambda each: each[0])[:SAMPLED]

    def forget(self, ids: pa.Array) -> None:
        """They are deleted."""
        with self._lock:
            self._forget(ids)

    def _forget(self, ids: pa.Array) -> None:
        if self._kept:
            gone = pc.is_in(pa.array([each for _, each, _ in self._kept], ids.type), ids).to_pylist()
            self._kept = [each for each, is_gone in zip(self._kept, gone, strict=True) if not is_gone]

    def add(self, other: Sample) -> None:
        """Rows of another sample that this one lacks, until it is full."""
        known = {each for _, each, _ in self._kept}
        self._kept += [each for each in other._kept if each[1] not in known][: SAMPLED - len(self._kept)]

    def rows(self) -> list[pa.RecordBatch]:
        return [row for _, _, row in self._kept]

    def __len__(self) -> int:
        return len(self._kept)


@dataclass(frozen=True)
class Checked:
    """rows: counted in the target. sampled: rows whose vectors were compared. recall: of the ten nearest, None where it was not asked for."""

    rows: int
    sampled: int
    recall: float | None = None


def require_count(target: Target, expected: int, where: str) -> int:
    found = target.count()
    if found != expected:
        raise DataError(
            f"{where}: holds {several(found, 'row')}, expected {expected:,}: something else writes to it, or it held rows before (--adopt). "
            "Load into a new collection, or remove what does not belong there"
        )
    return found


def require_vectors(target: Target, sample: Sample, layout: Layout, where: str) -> int:
    """DataError where one of the sampled rows is missing from the target, or has another vector there. Returns how many were compared."""
    if not sample.rows():
        return 0
    expected = pa.Table.from_batches(sample.rows())
    ids = expected.column(layout.id.name).combine_chunks()
    found = target.fetch(ids)
    places = pc.index_in(ids, found.column(0)).to_numpy(zero_copy_only=False)
    if (missing := np.flatnonzero(np.isnan(places.astype(float)))).size:
        are = f"{several(missing.size, 'row')} of {len(ids)} sampled ones {agreeing(missing.size, 'is', 'are')}"
        raise DataError(f"{where}: {are} missing, for example {ids[missing[0]].as_py()!r}")
    wanted, got = vectors_of(expected.column(layout.vector.name)), vectors_of(found.column(1))[places.astype(int)]
    differing = np.flatnonzero(~_are_equal(wanted, got, target.normalizes and layout.metric == COSINE))
    if differing.size:
        differ = f"{several(differing.size, 'vector')} of {len(ids)} sampled ones {agreeing(differing.size, 'differs', 'differ')}"
        raise DataError(
            f"{where}: {differ} from the dataset's, for example that of "
            f"{ids[differing[0]].as_py()!r}: something else writes to it; load into a new collection"
        )
    return len(ids)


def _are_equal(wanted: np.ndarray, got: np.ndarray, normalized: bool) -> np.ndarray:
    """[N] bool. normalized: the target may keep vectors of length 1 in their place, of all rows or of those that its index has reached."""
    same = np.asarray((wanted == got).all(axis=1))
    if not normalized:
        return same
    lengths = np.linalg.norm(wanted.astype(np.float64), axis=1, keepdims=True)
    close = (np.abs(wanted / np.maximum(lengths, 1e-12) - got) <= NORMALIZED_TOLERANCE).all(axis=1)
    return np.asarray(same | close)


def vectors_of(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """[N, E] in the stored type, of a column of lists of a fixed size."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # of no chunk
        array = pa.concat_arrays(array.chunks)
    return np.asarray(array.flatten().to_numpy(zero_copy_only=False)).reshape(len(array), -1)


def recall(target: Target, queries: np.ndarray, rows: Iterable[pa.RecordBatch], layout: Layout) -> float:
    """How many of the K nearest rows the target finds, of those that comparing with every row finds. queries: [Q, E] in the stored form."""
    found = [list(ids)[:K] for ids in target.search(queries, K)]
    asked: dict[Any, list[tuple[int, int]]] = {}
    for query, ids in enumerate(found):
        for place, each in enumerate(ids):
            asked.setdefault(each, []).append((query, place))
    best = np.full((len(queries), K), -np.inf)
    scores = np.full((len(queries), K), -np.inf)
    known = pa.array(list(asked), layout.id.type)
    for batch in rows:
        near = _nearness(queries, vectors_of(batch.column(layout.vector.name)), layout)
        best = -np.sort(-np.concatenate([best, near], axis=1), axis=1)[:, :K]
        ids = batch.column(layout.id.name)
        for row in np.flatnonzero(pc.is_in(ids, known).to_numpy(zero_copy_only=False)):
            for query, place in asked[ids[int(row)].as_py()]:
                scores[query, place] = near[query, row]
    reachable = np.isfinite(best)
    worst = np.where(reachable, best, np.inf).min(axis=1, keepdims=True)
    return float((scores >= worst - TIE * np.maximum(np.abs(worst), 1)).sum() / max(1, reachable.sum()))


def _nearness(queries: np.ndarray, vectors: np.ndarray, layout: Layout) -> np.ndarray:
    """[Q, N], greater is nearer. Of bits, those that are equal."""
    if layout.vector.dtype == UBINARY:
        left, right = (np.unpackbits(each, axis=1).astype(np.float32) for each in (queries, vectors))
        return np.asarray(left @ right.T + (1 - left) @ (1 - right).T)
    left, right = queries.astype(np.float32), vectors.astype(np.float32)
    if layout.metric == L2:
        return np.asarray(-((left**2).sum(1)[:, None] - 2 * left @ right.T + (right**2).sum(1)))
    if layout.metric == COSINE:
        left, right = (each / np.maximum(np.linalg.norm(each, axis=1, keepdims=True), 1e-12) for each in (left, right))
    return np.asarray(left @ right.T)


