"""What each index holds, read by its own library and nothing of ours: id -> (vector, kept columns)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

Rows = dict[Any, tuple[np.ndarray, dict[str, Any]]]
TARGETS = ("postgresql", "duckdb", "lancedb", "qdrant-edge", "milvus", "chroma", "faiss", "usearch")
FLAT = {"duckdb", "lancedb", "faiss"}  # exact by default
NORMALIZING = {"qdrant-edge", "chroma", "faiss"}


def address_of(name: str, folder: Path, postgres: str = "", **options: str) -> str:
    """In that folder, or in that PostgreSQL in a table called after the folder."""
    if name == "postgresql":
        given = {"table": "t" + folder.name.replace("-", "_"), **options}
        return postgres + "".join(f"&{key}={value}" for key, value in given.items())
    query = "&".join(f"{key}={value}" for key, value in options.items())
    return f"{name}:{folder / ('milvus.db' if name == 'milvus' else name)}" + (f"?{query}" if query else "")


def read(name: str, folder: Path, postgres: str = "", columns: tuple[str, ...] = ("title", "module"), id_name: str = "id") -> Rows:
    return {
        "postgresql": read_postgresql, "duckdb": read_duckdb, "lancedb": read_lancedb, "qdrant-edge": read_qdrant_edge, "milvus": read_milvus,
        "chroma": read_chroma, "faiss": read_faiss, "usearch": read_usearch,
    }[name](folder, postgres, columns, id_name)  # fmt: skip


def read_postgresql(folder: Path, postgres: str, columns: tuple[str, ...], id_name: str) -> Rows:
    import psycopg
    from pgvector.psycopg import register_vector

    with psycopg.connect(postgres) as connection:
        register_vector(connection)
        names = ", ".join(f'"{name}"' for name in (id_name, "embedding", *columns))
        found = connection.execute(f'SELECT {names} FROM "{"t" + folder.name.replace("-", "_")}"').fetchall()  # type: ignore[call-overload]
    vectors = [row[1].to_numpy() if hasattr(row[1], "to_numpy") else np.asarray(row[1]) for row in found]
    return {row[0]: (vector, dict(zip(columns, row[2:], strict=True))) for row, vector in zip(found, vectors, strict=True)}


def read_duckdb(folder: Path, postgres: str, columns: tuple[str, ...], id_name: str) -> Rows:
    import duckdb

    with duckdb.connect(str(folder / "duckdb"), read_only=True) as connection:
        names = ", ".join(f'"{name}"' for name in (id_name, "embedding", *columns))
        found = connection.execute(f"SELECT {names} FROM docs").fetchall()
    return {row[0]: (np.array(row[1], np.float32), dict(zip(columns, row[2:], strict=True))) for row in found}


def read_lancedb(folder: Path, postgres: str, columns: tuple[str, ...], id_name: str) -> Rows:
    import lancedb

    table = lancedb.connect(str(folder / "lancedb")).open_table("docs").to_arrow()
    return {row[id_name]: (np.array(row["embedding"], np.float32), {name: row[name] for name in columns}) for row in table.to_pylist()}


def read_qdrant_edge(folder: Path, postgres: str, columns: tuple[str, ...], id_name: str) -> Rows:
    import qdrant_edge

    shard = qdrant_edge.EdgeShard.load(str(folder / "qdrant-edge"))
    found, _ = shard.scroll(qdrant_edge.ScrollRequest(limit=100_000, with_payload=True, with_vector=True))
    shard.close()
    return {
        point.payload[id_name]: (np.array(point.vector["embedding"], np.float32), {name: point.payload.get(name) for name in columns}) for point in found
    }


@contextlib.contextmanager
def milvus_client(folder: Path) -> Iterator[Any]:
    """pymilvus leaves its server running, with the database locked, until the process ends."""
    from milvus_lite.server_manager import server_manager_instance
    from pymilvus import MilvusClient

    path = str(folder / "milvus.db")
    client = MilvusClient(path)
    try:
        yield client
    finally:
        client.close()
        server_manager_instance.release_server(path)


def read_milvus(folder: Path, postgres: str, columns: tuple[str, ...], id_name: str) -> Rows:
    with milvus_client(folder) as client:
        client.load_collection("docs")
        rows: list[Any] = client.query("docs", filter="", limit=16_384, output_fields=[id_name, "embedding", *columns])
    return {row[id_name]: (np.array(row["embedding"], np.float32), {name: row.get(name) for name in columns}) for row in rows}


def read_chroma(folder: Path, postgres: str, columns: tuple[str, ...], id_name: str) -> Rows:
    import chromadb
    from chromadb.config import Settings

    client = chromadb.PersistentClient(str(folder / "chroma"), settings=Settings(anonymized_telemetry=False))
    found: Any = client.get_collection("docs").get(include=["embeddings", "metadatas"])
    client.close()  # else the process keeps this engine, and what it has in memory, for the next client
    rows = zip(found["ids"], found["embeddings"], found["metadatas"], strict=True)
    return {each: (np.asarray(vector, np.float32), {name: (kept or {}).get(name) for name in columns}) for each, vector, kept in rows}


def read_faiss(folder: Path, postgres: str, columns: tuple[str, ...], id_name: str) -> Rows:
    import faiss

    index = faiss.read_index(str(folder / "faiss"))
    vectors = faiss.rev_swig_ptr(faiss.downcast_index(index.index).get_xb(), index.ntotal * index.d).reshape(index.ntotal, index.d).copy()
    by_key = dict(zip(faiss.vector_to_array(index.id_map).tolist(), vectors, strict=True))
    return _with_rows(folder / "faiss.rows.parquet", by_key, columns, id_name)


def read_usearch(folder: Path, postgres: str, columns: tuple[str, ...], id_name: str) -> Rows:
    from usearch.index import Index

    index = Index.restore(str(folder / "usearch"))
    assert index is not None
    by_key = {int(key): np.asarray(index.get(int(key))) for key in index.keys}
    return _with_rows(folder / "usearch.rows.parquet", by_key, columns, id_name)


def _with_rows(path: Path, vectors: dict[int, np.ndarray], columns: tuple[str, ...], id_name: str) -> Rows:
    rows = pq.read_table(path).to_pylist()
    assert {row["embermill_key"] for row in rows} == vectors.keys()
    return {row[id_name]: (vectors[row["embermill_key"]], {name: row[name] for name in columns}) for row in rows}


def require_equal(found: Rows, expected: Rows, normalized: bool) -> None:
    """Ids, columns, and vectors bit for bit, or, where the index keeps them with length 1, to the last digit of float32."""
    assert found.keys() == expected.keys()
    assert {each: kept for each, (_, kept) in found.items()} == {each: kept for each, (_, kept) in expected.items()}
    ids = list(expected)
    one, other = np.stack([found[each][0] for each in ids]), np.stack([expected[each][0] for each in ids])
    if normalized:
        unit = other / np.maximum(np.linalg.norm(other.astype(np.float64), axis=1, keepdims=True), 1e-12)
        assert ((one == other).all(axis=1) | (np.abs(one - unit) <= 2e-7).all(axis=1)).all()
    else:
        assert (one == other).all()
