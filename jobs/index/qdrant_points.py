"""Rows as Qdrant has them, engine and server alike: a point with an id of its own kind, one named vector, and the row's id and columns as payload."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from embermill.jobs.index import Layout
from embermill.jobs.index.checking import vectors_of
from embermill.jobs.index.metadata_json import json_rows
from embermill.jobs.index.row_keys import uuid_keys


def points_of(batch: pa.RecordBatch, layout: Layout) -> Iterator[tuple[str | int, list[float], dict[str, Any]]]:
    """(id, vector, payload) of each row."""
    vectors = vectors_of(batch.column(layout.vector.name)).tolist()
    payloads = json_rows(batch.drop_columns([layout.vector.name]))
    yield from zip(uuid_keys(batch.column(layout.id.name)), vectors, payloads, strict=True)


def rows_of(found: Sequence[tuple[Any, Sequence[float]]], layout: Layout) -> pa.RecordBatch:
    """(id in the payload, vector) of each point, as Target.fetch has them."""
    kind = layout.vector.arrow_type
    flat = pa.array([number for _, vector in found for number in vector], kind.value_type)
    ids = pa.array([each for each, _ in found], layout.id.type)
    return pa.RecordBatch.from_arrays([ids, pa.FixedSizeListArray.from_arrays(flat, type=kind)], names=["id", "vector"])
