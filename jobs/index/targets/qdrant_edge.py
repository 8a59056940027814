"""`qdrant-edge:PATH`: a shard of Qdrant's engine in this process, as qdrant-edge-py has it.

Options: metric. Ids become UUIDs (or are whole numbers), the dataset's id is in the payload with the kept columns. The cursor is a file beside the shard,
PATH.cursor.json.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import qdrant_edge as qdrant

from embermill.jobs.index import COSINE, DOT, FLOAT16, FLOAT32, L2, Address, Layout, Standing, Target
from embermill.jobs.index.lock_file import LockFile
from embermill.jobs.index.qdrant_points import points_of, rows_of
from embermill.jobs.index.row_keys import uuid_keys
from embermill.jobs.storage.local_path import local_path

DISTANCES = {COSINE: qdrant.Distance.Cosine, DOT: qdrant.Distance.Dot, L2: qdrant.Distance.Euclid}
DATATYPES = {FLOAT32: qdrant.VectorStorageDatatype.Float32, FLOAT16: qdrant.VectorStorageDatatype.Float16}
POINTS = 1024  # an operation


class QdrantEdgeTarget(Target):
    limits = "qdrant"
    normalizes = True

    def __init__(self, address: Address) -> None:
        self._path = local_path(address.place)
        self._lock = LockFile(self._path.with_name(f"{self._path.name}.lock"))
        self._cursor_file = self._path.with_name(f"{self._path.name}.cursor.json")
        self._shard: Any = None

    def lock(self) -> None:
        self._lock.acquire()

    def describe(self) -> Standing | None:
        if self._shard is None:
            if not self._path.exists() or not any(self._path.iterdir()):
                return None
            self._shard = qdrant.EdgeShard.load(str(self._path))
        points, _ = self._shard.scroll(qdrant.ScrollRequest(limit=1, with_vector=True))  # a shard does not say how it was configured
        vectors = [vector for point in points if isinstance(point.vector, dict) for vector in point.vector.values()]
        cursor = self._cursor_file.read_text() if self._cursor_file.exists() else None
        return Standing(self.count(), len(vectors[0]) if vectors else None, None, cursor)

    def prepare(self, layout: Layout) -> None:
        self._layout = layout
        if self._shard is None:
            self._path.mkdir(parents=True, exist_ok=True)
            vector = qdrant.EdgeVectorParams(layout.vector.dimensions, DISTANCES[layout.metric], datatype=DATATYPES[layout.vector.dtype])
            self._shard = qdrant.EdgeShard.create(str(self._path), qdrant.EdgeConfig(vectors={layout.vector.name: vector}))

    def upsert(self, rows: pa.RecordBatchReader, *, new: bool) -> None:
        for batch in rows:
            for first in range(0, batch.num_rows, POINTS):
                part = batch.slice(first, POINTS)
                points = [qdrant.Point(key, {self._vector: vector}, payload) for key, vector, payload in points_of(part, self._known)]
                self._shard.update(qdrant.UpdateOperation.upsert_points(points))

    def delete(self, ids: pa.Array) -> None:
        self._shard.update(qdrant.UpdateOperation.delete_points(uuid_keys(ids)))

    def commit(self, cursor: str) -> None:
        self._shard.flush()
        temporary = self._cursor_file.with_name(f".{self._cursor_file.name}.{os.getpid()}.tmp")
        with temporary.open("w") as file:
            file.write(cursor)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._cursor_file)

    def finish(self, layout: Layout) -> None:
        self._shard.optimize()
        self._shard.flush()

    def count(self) -> int:
        return int(self._shard.count(qdrant.CountRequest(exact=True)))

    def fetch(self, ids: pa.Array) -> pa.RecordBatch:
        found = self._shard.retrieve(uuid_keys(ids), with_payload=True, with_vector=True)
        return rows_of([(record.payload[self._known.id.name], record.vector[self._vector]) for record in found], self._known)

    def search(self, vectors: np.ndarray, k: int) -> Sequence[Sequence[Any]]:
        found = []
        for vector in vectors:
            query = qdrant.Query.Nearest(vector.tolist(), using=self._vector)
            hits = self._shard.query(qdrant.QueryRequest(limit=k, query=query, with_payload=True))
            found.append([hit.payload[self._known.id.name] for hit in hits])
        return found

    def close(self) -> None:
        if self._shard is not None:
            self._shard.close()
            self._shard = None
        self._lock.release()

    @property
    def _vector(self) -> str:
        return self._known.vector.name
