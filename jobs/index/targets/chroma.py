"""`chroma:PATH?collection=docs` (Chroma in this process) and `chroma://host:8000?collection=docs` (a server of it).

Options: collection (docs), metric. Ids are strings in Chroma: whole numbers become their text. Kept columns are metadata; what is null is left out there,
and what is neither text, number nor boolean becomes JSON. The cursor lies in the collection's metadata.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import chromadb
import numpy as np
import pyarrow as pa
from chromadb.config import Settings

from embermill.jobs.index import COSINE, DOT, L2, Address, Layout, Standing
from embermill.jobs.index.checking import vectors_of
from embermill.jobs.index.lease import LeasedTarget
from embermill.jobs.index.lock_file import LockFile
from embermill.jobs.index.metadata_json import json_rows, json_text
from embermill.jobs.storage.local_path import local_path

CURSOR = "embermill_cursor"
SPACES = {COSINE: "cosine", DOT: "ip", L2: "l2"}


class ChromaTarget(LeasedTarget):
    limits = "chroma"
    options = ("collection",)
    normalizes = True

    def __init__(self, address: Address) -> None:
        self._name, self._place = address.options.get("collection", "docs"), address.place
        self._path = None if address.text.startswith("chroma://") else local_path(self._place)
        self.where, self.is_server = address.shown, self._path is None
        self._writing = threading.Lock()
        self._lock = None if self._path is None else LockFile(self._path / "embermill.lock")
        self._client: Any = None
        self._collection: Any = None

    def lock(self) -> None:
        if self._lock is not None:
            self._lock.acquire()
        super().lock()

    def has_collection(self) -> bool:
        self._connect()
        return self._name in [collection.name for collection in self._client.list_collections()]

    def read_metadata(self, key: str) -> str | None:
        return (self._client.get_collection(self._name, embedding_function=None).metadata or {}).get(key)

    def write_metadata(self, key: str, text: str) -> None:
        with self._writing:
            collection = self._client.get_collection(self._name, embedding_function=None)
            collection.modify(metadata={**(collection.metadata or {}), key: text})

    def describe(self) -> Standing | None:
        if self._path is not None and not (self._path / "chroma.sqlite3").exists():
            return None
        if not self.has_collection():
            return None
        self._collection = self._client.get_collection(self._name, embedding_function=None)
        space = (self._collection.configuration_json.get("hnsw") or {}).get("space")  # `configuration` warns of there being no embedding function
        first = self._collection.peek(1)["embeddings"]
        dimensions = None if first is None or not len(first) else len(first[0])
        metric = next((metric for metric, name in SPACES.items() if name == space), None)
        return Standing(self.count(), dimensions, metric, (self._collection.metadata or {}).get(CURSOR))

    def prepare(self, layout: Layout) -> None:
        self._layout = layout
        if self._collection is None:
            self._connect()
            space = {"hnsw": {"space": SPACES[layout.metric]}}
            self.create(lambda: self._client.create_collection(self._name, configuration=space, embedding_function=None))
            self._collection = self._client.get_collection(self._name, embedding_function=None)
        self.hold_created()

    def upsert(self, rows: pa.RecordBatchReader, *, new: bool) -> None:
        write = self._collection.add if new else self._collection.upsert
        for batch in rows:
            for first in range(0, batch.num_rows, self._most):
                part = batch.slice(first, self._most)
                ids = self._ids(part.column(0))
                if not new:
                    self._collection.delete(ids=ids)  # an upsert would keep metadata that the new row lacks
                write(ids=ids, embeddings=vectors_of(part.column(1)), metadatas=self._metadata(part))

    def delete(self, ids: pa.Array) -> None:
        for first in range(0, len(ids), self._most):
            self._collection.delete(ids=self._ids(ids.slice(first, self._most)))

    def commit(self, cursor: str) -> None:
        self.require_lease()
        self.write_metadata(CURSOR, cursor)

    def finish(self, layout: Layout) -> None:
        """Chroma builds its index by itself."""

    def count(self) -> int:
        return int(self._collection.count())

    def fetch(self, ids: pa.Array) -> pa.RecordBatch:
        found = self._collection.get(ids=self._ids(ids), include=["embeddings"])
        kind = self._known.vector.arrow_type
        flat = np.asarray(found["embeddings"], np.float32).reshape(-1)
        return pa.RecordBatch.from_arrays([self._from_text(found["ids"]), pa.FixedSizeListArray.from_arrays(pa.array(flat), type=kind)], names=["id", "vector"])

    def search(self, vectors: np.ndarray, k: int) -> Sequence[Sequence[Any]]:
        found = self._collection.query(query_embeddings=vectors, n_results=k, include=[])
        return [self._from_text(ids).to_pylist() for ids in found["ids"]]

    def close(self) -> None:
        """Chroma keeps one engine for each path in a process: left open, it would miss what other processes write to it from now on."""
        self.release_lease()
        if self._client is not None:
            self._client.close()
        self._client = self._collection = None
        if self._lock is not None:
            self._lock.release()

    @property
    def _most(self) -> int:
        return int(self._client.get_max_batch_size())

    def _connect(self) -> None:
        if self._client is None and self._path is not None:
            self._path.mkdir(parents=True, exist_ok=True)
            self._client = chromadb.PersistentClient(str(self._path), settings=Settings(anonymized_telemetry=False))
        elif self._client is None:
            host, _, port = self._place.partition(":")
            self._client = chromadb.HttpClient(host, int(port or 8000), settings=Settings(anonymized_telemetry=False))

    def _ids(self, ids: pa.Array) -> list[str]:
        return [str(each) for each in ids.to_pylist()]

    def _from_text(self, ids: Sequence[str]) -> pa.Array:
        return pa.array(ids, pa.string()).cast(self._known.id.type)

    def _metadata(self, batch: pa.RecordBatch) -> list[dict[str, Any] | None] | None:
        """None for a row that has none: Chroma takes no empty one."""
        names = batch.schema.names[2:]
        rows = [{name: _plain(value) for name, value in row.items()} or None for row in json_rows(batch.select(names))] if names else []
        return rows if any(rows) else None


def _plain(value: Any) -> str | int | float | bool:
    return value if isinstance(value, str | int | float | bool) else json_text(value)
