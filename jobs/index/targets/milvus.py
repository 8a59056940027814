"""`milvus:PATH?collection=docs` (Milvus Lite, in this process) and `milvus://host:19530?collection=docs` (a server). MILVUS_TOKEN from the environment.

Options: collection (docs), metric, index: auto (HNSW or what the server chooses), or flat. The cursor lies in the collection's properties. Kept columns of
text, numbers and booleans are fields of those types, others are JSON fields.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pymilvus import DataType, MilvusClient

from embermill.jobs.errors import UsageError
from embermill.jobs.index import COSINE, DOT, FLOAT16, FLOAT32, L2, UBINARY, Address, Layout, Standing
from embermill.jobs.index.checking import vectors_of
from embermill.jobs.index.lease import LeasedTarget
from embermill.jobs.index.lock_file import LockFile
from embermill.jobs.index.metadata_json import json_rows
from embermill.jobs.storage.local_path import local_path

if TYPE_CHECKING:
    from embermill.jobs.index.targets.milvus_lite import LiteServer

CURSOR = "embermill.cursor"
SUFFIX = ".db"  # what pymilvus takes for a database of Milvus Lite
METRICS = {COSINE: "COSINE", DOT: "IP", L2: "L2"}
VECTORS = {FLOAT32: DataType.FLOAT_VECTOR, FLOAT16: DataType.FLOAT16_VECTOR, UBINARY: DataType.BINARY_VECTOR}
LITE_DTYPES = (FLOAT32,)
LITE_NOTE = "Milvus Lite (3.2) has neither FLOAT16_VECTOR nor BINARY_VECTOR, a Milvus server has both"
LONGEST = 65_535  # bytes of a VARCHAR
ROWS = 2_048  # a request


class MilvusTarget(LeasedTarget):
    limits = "milvus"
    dtypes: tuple[str, ...] = (FLOAT32, FLOAT16, UBINARY)
    options = ("collection", "index")
    has_alias = True
    never_run = "it ran against the server of Milvus Lite, which takes float32 alone"

    def __init__(self, address: Address) -> None:
        self._name, self._index = address.options.get("collection", "docs"), address.options.get("index", "auto")
        if self._index not in ("auto", "flat"):
            raise UsageError(f"target {address.shown}: index={self._index}: expected auto or flat")
        self.where, self.is_server = address.shown, address.text.startswith("milvus://")
        if not self.is_server:
            self.dtypes, self.dtypes_note = LITE_DTYPES, LITE_NOTE
        self._path = local_path(address.place)
        if not self.is_server and self._path.suffix != SUFFIX:
            raise UsageError(f"target {address.shown}: expected a path that ends in {SUFFIX}, by which pymilvus tells Milvus Lite from a server")
        if not self.is_server and find_spec("milvus_lite") is None:
            raise UsageError(f"target {address.shown}: needs milvus-lite, which is not installed here: pip install 'embermill[milvus-lite]'")
        self._uri = f"http://{address.place}"
        self._lock = None if self.is_server else LockFile(self._path.with_name(f"{self._path.name}.lock"))
        self._lite: LiteServer | None = None
        self._open: MilvusClient | None = None

    @property
    def _client(self) -> MilvusClient:
        if self._open is None:
            if not self.is_server:
                from embermill.jobs.index.targets.milvus_lite import LiteServer

                self._lite = LiteServer(self._path)
            self._open = MilvusClient(self._lite.address if self._lite else self._uri, token=os.environ.get("MILVUS_TOKEN", "") if self.is_server else "")
        return self._open

    def lock(self) -> None:
        if self._lock is not None:
            self._lock.acquire()
        super().lock()

    def has_collection(self) -> bool:
        return bool(self._client.has_collection(self._name))

    def read_metadata(self, key: str) -> str | None:
        found: str | None = self._client.describe_collection(self._name).get("properties", {}).get(key)
        return found

    def write_metadata(self, key: str, text: str) -> None:
        self._client.alter_collection_properties(self._name, {key: text})

    def describe(self) -> Standing | None:
        if not self.is_server and not self._path.exists():
            return None
        if not self.has_collection():
            return None
        described = self._client.describe_collection(self._name)
        sizes = [int(field["params"]["dim"]) for field in described["fields"] if "dim" in field.get("params", {})]
        self._client.load_collection(self._name)
        return Standing(self.count(), sizes[0] if sizes else None, None, described.get("properties", {}).get(CURSOR))

    def prepare(self, layout: Layout) -> None:
        self._layout = layout
        if not self.has_collection():
            self._create(layout)
        self.hold_created()

    def _create(self, layout: Layout) -> None:
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        if pa.types.is_integer(layout.id.type):
            schema.add_field(layout.id.name, DataType.INT64, is_primary=True)
        else:
            schema.add_field(layout.id.name, DataType.VARCHAR, is_primary=True, max_length=LONGEST)
        schema.add_field(layout.vector.name, VECTORS[layout.vector.dtype], dim=layout.vector.dimensions)
        for field in layout.columns:
            kind = field_type(field.type)
            schema.add_field(field.name, kind, nullable=True, **({"max_length": LONGEST} if kind == DataType.VARCHAR else {}))
        index = self._client.prepare_index_params()
        metric = "HAMMING" if layout.vector.dtype == UBINARY else METRICS[layout.metric]
        kind = {"auto": "AUTOINDEX", "flat": "FLAT"}[self._index] if layout.vector.dtype != UBINARY else "BIN_FLAT"
        index.add_index(layout.vector.name, index_type=kind, metric_type=metric)
        self._client.create_collection(self._name, schema=schema, index_params=index)

    def upsert(self, rows: pa.RecordBatchReader, *, new: bool) -> None:
        write = self._client.insert if new else self._client.upsert
        for batch in rows:
            for first in range(0, batch.num_rows, ROWS):
                write(self._name, self._rows(batch.slice(first, ROWS)))

    def delete(self, ids: pa.Array) -> None:
        for first in range(0, len(ids), ROWS):
            self._client.delete(self._name, ids=ids.slice(first, ROWS).to_pylist())

    def commit(self, cursor: str) -> None:
        if not self.is_server:
            self._client.flush(self._name)
        self.require_lease()
        self.write_metadata(CURSOR, cursor)

    def finish(self, layout: Layout) -> None:
        self._client.flush(self._name)
        self._client.load_collection(self._name)

    def count(self) -> int:
        return int(self._client.query(self._name, filter="", output_fields=["count(*)"], consistency_level="Strong")[0]["count(*)"])

    def fetch(self, ids: pa.Array) -> pa.RecordBatch:
        names = [self._known.id.name, self._known.vector.name]
        found = self._client.get(self._name, ids=ids.to_pylist(), output_fields=names)
        kind = self._known.vector.arrow_type
        flat = np.concatenate([self._numbers(row[names[1]]) for row in found]) if found else np.empty(0, kind.value_type.to_pandas_dtype())
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat, kind.value_type), type=kind)
        return pa.RecordBatch.from_arrays([pa.array([row[names[0]] for row in found], ids.type), vectors], names=["id", "vector"])

    def search(self, vectors: np.ndarray, k: int) -> Sequence[Sequence[Any]]:
        data = [vector.tobytes() for vector in vectors] if self._known.vector.dtype == UBINARY else list(vectors)
        found = self._client.search(self._name, data=data, limit=k, anns_field=self._known.vector.name, output_fields=[self._known.id.name])
        return [[hit["entity"].get(self._known.id.name, hit.get("id")) for hit in hits] for hits in found]

    def may_alias(self, name: str) -> bool:
        there = self._client.list_collections() if self.is_server or self._path.exists() else []
        return name not in (self._name, *there)

    def alias(self, name: str) -> None:
        known = self._client.list_aliases().get("aliases", [])
        (self._client.alter_alias if name in known else self._client.create_alias)(self._name, name)

    def close(self) -> None:
        self.release_lease()
        if self._open is not None:
            self._open.close()
            self._open = None
        if self._lite is not None:
            self._lite.stop()
            self._lite = None
        if self._lock is not None:
            self._lock.release()

    def _rows(self, batch: pa.RecordBatch) -> list[dict[str, Any]]:
        form, names = self._known.vector, batch.schema.names
        vectors = vectors_of(batch.column(1))
        empty = dict.fromkeys(names[2:])
        rows = json_rows(batch.select([names[0], *names[2:]]))
        return [{**empty, **row, form.name: vector.tobytes() if form.dtype == UBINARY else vector} for row, vector in zip(rows, vectors, strict=True)]

    def _numbers(self, value: Any) -> np.ndarray:
        kind = {UBINARY: np.uint8, FLOAT16: np.float16, FLOAT32: np.float32}[self._known.vector.dtype]
        if isinstance(value, list) and value and isinstance(value[0], bytes):
            value = value[0]
        return np.frombuffer(value, kind) if isinstance(value, bytes) else np.asarray(value, kind)


def field_type(kind: pa.DataType) -> DataType:
    if pa.types.is_boolean(kind):
        return DataType.BOOL
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        return DataType.INT64
    if pa.types.is_floating(kind):
        return DataType.DOUBLE
    return DataType.VARCHAR if pa.types.is_string(kind) or pa.types.is_temporal(kind) or pa.types.is_decimal(kind) else DataType.JSON
