"""Brute-force search over a dataset's shards: exact, streamed, in memory that grows with the number of answers and not with the corpus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.storage import Folder

BATCH_ROWS = 8192
SMALLEST_NORM = 1e-12  # a vector of zeros is similar to nothing


@dataclass(frozen=True)
class Hit:
    """One row that was found. score: cosine of its vector with the query's. columns: everything of the row but its vector."""

    score: float
    shard: str
    row: int
    columns: dict[str, Any]


def search(folder: Folder, shards: Sequence[str], query: np.ndarray, k: int, column: str = "embedding") -> list[Hit]:
    """The k rows most similar to `query` [E], best first; equal scores in row order.

    shards: names of Parquet files in the folder, in row order. `column` holds a vector of E numbers per row.
    """
    best = _best(folder, shards, query.astype(np.float32, copy=False), k, column)
    return [Hit(float(score), shards[shard], row, _read_row(folder, shards[shard], row, column)) for score, shard, row in best]


def _best(folder: Folder, shards: Sequence[str], query: np.ndarray, k: int, column: str) -> list[tuple[float, int, int]]:
    """(score, shard's index, row within it) of the k best. Batches come in row order and the sort is stable, so the first of equals stays first."""
    query = query / max(float(np.linalg.norm(query)), SMALLEST_NORM)
    scores, places = np.empty(0, np.float32), np.empty((0, 2), np.int64)
    for shard, name in enumerate(shards):
        for first_row, vectors in _vectors(folder, name, column):
            norms = np.sqrt(np.einsum("be,be->b", vectors, vectors))
            found = vectors @ query / np.maximum(norms, SMALLEST_NORM)
            rows = np.arange(first_row, first_row + len(found))
            scores = np.concatenate([scores, found])
            places = np.concatenate([places, np.stack([np.full_like(rows, shard), rows], axis=1)])
            order = np.argsort(-scores, kind="stable")[:k]
            scores, places = scores[order], places[order]
    return [(float(score), int(shard), int(row)) for score, (shard, row) in zip(scores, places, strict=True)]


def _vectors(folder: Folder, name: str, column: str) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, [B, E] float32) of a shard, batch by batch."""
    first_row = 0
    with folder.open(name) as file:
        for batch in pq.ParquetFile(file, page_checksum_verification=True).iter_batches(BATCH_ROWS, columns=[column]):
            vectors = batch.column(0)
            yield first_row, vectors.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False).reshape(len(vectors), -1)
            first_row += len(vectors)


def _read_row(folder: Folder, name: str, row: int, column: str) -> dict[str, Any]:
    """One row without its vector: only the row group that holds it is read."""
    with folder.open(name) as file:
        parquet = pq.ParquetFile(file, page_checksum_verification=True)
        columns = [field.name for field in parquet.schema_arrow if field.name != column and not pa.types.is_nested(field.type)]
        ends = np.cumsum([parquet.metadata.row_group(number).num_rows for number in range(parquet.num_row_groups)])
        group = int(np.searchsorted(ends, row, side="right"))
        within = row - (int(ends[group - 1]) if group else 0)
        values: dict[str, Any] = parquet.read_row_group(group, columns=columns).slice(within, 1).to_pylist()[0]
        return values
