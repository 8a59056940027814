"""`qdrant://host:6333?collection=docs`: a collection of a Qdrant server, 1.16 or newer, through qdrant-client. QDRANT_API_KEY from the environment.

Options: collection (docs), metric, tls (true for https). Ids become UUIDs (or are whole numbers); the dataset's id is in the payload with the kept columns.
The cursor lies in the collection's metadata.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from qdrant_client import QdrantClient, models

from embermill.jobs.index import COSINE, DOT, FLOAT16, FLOAT32, L2, Address, Layout, Standing
from embermill.jobs.index.lease import LeasedTarget
from embermill.jobs.index.qdrant_points import points_of, rows_of
from embermill.jobs.index.row_keys import uuid_keys

CURSOR = "embermill_cursor"
DISTANCES = {COSINE: models.Distance.COSINE, DOT: models.Distance.DOT, L2: models.Distance.EUCLID}
DATATYPES = {FLOAT32: models.Datatype.FLOAT32, FLOAT16: models.Datatype.FLOAT16}
POINTS = 256  # a request
RETRIES, TIMEOUT_S = 3, 60


class QdrantTarget(LeasedTarget):
    limits = "qdrant"
    dtypes = (FLOAT32, FLOAT16)
    options = ("collection", "tls")
    normalizes = True
    max_workers = None
    has_alias = True
    never_run = "it ran against the client's local mode"

    def __init__(self, address: Address) -> None:
        self._collection = address.options.get("collection", "docs")
        self.where, self.is_server = address.shown, True
        self._client = self.connect(address)

    @staticmethod
    def connect(address: Address) -> QdrantClient:
        scheme = "https" if address.options.get("tls") == "true" else "http"
        return QdrantClient(url=f"{scheme}://{address.place}", api_key=os.environ.get("QDRANT_API_KEY"), timeout=TIMEOUT_S)

    def has_collection(self) -> bool:
        return bool(self._client.collection_exists(self._collection))

    def read_metadata(self, key: str) -> str | None:
        return (self._client.get_collection(self._collection).config.metadata or {}).get(key)

    def write_metadata(self, key: str, text: str) -> None:
        self._client.update_collection(self._collection, metadata={key: text})

    def describe(self) -> Standing | None:
        if not self.has_collection():
            return None
        config = self._client.get_collection(self._collection).config
        vectors = config.params.vectors
        vector = next(iter(vectors.values()), None) if isinstance(vectors, dict) else vectors
        metric = None if vector is None else {distance: name for name, distance in DISTANCES.items()}.get(vector.distance)
        return Standing(self.count(), None if vector is None else vector.size, metric, (config.metadata or {}).get(CURSOR))

    def prepare(self, layout: Layout) -> None:
        self._layout = layout
        if not self.has_collection():
            vector = models.VectorParams(size=layout.vector.dimensions, distance=DISTANCES[layout.metric], datatype=DATATYPES[layout.vector.dtype])
            self.create(lambda: self._client.create_collection(self._collection, vectors_config={layout.vector.name: vector}))
        self.hold_created()

    def upsert(self, rows: pa.RecordBatchReader, *, new: bool) -> None:
        for batch in rows:
            points = (
                models.PointStruct(id=key, vector={self._known.vector.name: vector}, payload=payload) for key, vector, payload in points_of(batch, self._known)
            )
            self._client.upload_points(self._collection, points, batch_size=POINTS, max_retries=RETRIES, wait=True)

    def delete(self, ids: pa.Array) -> None:
        self._client.delete(self._collection, models.PointIdsList(points=list(uuid_keys(ids))), wait=True)

    def commit(self, cursor: str) -> None:
        self.require_lease()
        self.write_metadata(CURSOR, cursor)

    def finish(self, layout: Layout) -> None:
        """The server builds its index by itself."""

    def count(self) -> int:
        return int(self._client.count(self._collection, exact=True).count)

    def fetch(self, ids: pa.Array) -> pa.RecordBatch:
        name = self._known.vector.name
        found = self._client.retrieve(self._collection, list(uuid_keys(ids)), with_payload=True, with_vectors=[name])
        vectors: list[Any] = [record.vector for record in found]
        return rows_of([((record.payload or {})[self._known.id.name], vector[name]) for record, vector in zip(found, vectors, strict=True)], self._known)

    def search(self, vectors: np.ndarray, k: int) -> Sequence[Sequence[Any]]:
        requests = [models.QueryRequest(query=vector.tolist(), using=self._known.vector.name, limit=k, with_payload=True) for vector in vectors]
        answers = self._client.query_batch_points(self._collection, requests)
        return [[(hit.payload or {})[self._known.id.name] for hit in answer.points] for answer in answers]

    def may_alias(self, name: str) -> bool:
        return name not in (self._collection, *(collection.name for collection in self._client.get_collections().collections))

    def alias(self, name: str) -> None:
        known = {each.alias_name for each in self._client.get_aliases().aliases}
        moves: list[Any] = [models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=name))] if name in known else []
        made = models.CreateAlias(collection_name=self._collection, alias_name=name)
        self._client.update_collection_aliases([*moves, models.CreateAliasOperation(create_alias=made)])

    def close(self) -> None:
        self.release_lease()
        self._client.close()
