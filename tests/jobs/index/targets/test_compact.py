"""Compact columns of the demo: what each finds by brute force, and in an index that takes its form, where the codes stand bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embermill
from embermill.jobs.config import JobConfig
from embermill.jobs.dataset.views.recall import measure_recall
from embermill.jobs.errors import UsageError
from embermill.jobs.index.running import Options, load
from embermill.jobs.run import run
from embermill.jobs.shard.contents import to_matrix
from embermill.jobs.storage import open_folder
from tests.jobs.command_line import open_inline_pool
from tests.jobs.index.targets.reading import address_of

pytestmark = [pytest.mark.index, pytest.mark.timeout(900)]
VECTORS: list[dict[str, Any]] = [
    {"column": "embedding"}, {"column": "half", "dtype": "float16"}, {"column": "codes", "dtype": "int8"}, {"column": "bits", "dtype": "ubinary"},
]  # fmt: skip


@pytest.fixture(scope="module")
def compact(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of the demo's texts with four columns of its vectors."""
    output = tmp_path_factory.mktemp("compact") / "embeddings"
    settings: dict[str, Any] = {
        "model": {"engine": "python:tests.jobs.index.targets.known_vectors:KnownEngine", "source": str(demo)},
        "corpus": {"files": [str(demo.parent / "corpus/*.parquet")], "text_columns": ["title", "body"], "keep_columns": ["title", "module"]},
        "output": {"uri": str(output), "vectors": VECTORS},
        "workers": {"count": 1},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("embermill.jobs.run.open_pool", open_inline_pool)
        run(JobConfig.model_validate(settings))
    return output


def test_each_column_finds_what_was_measured(compact: Path) -> None:
    """As the reference has it: 500 of the rows as queries, of which each is among its own answers."""
    table = embermill.open_dataset(str(compact)).read_all()
    columns = {name: to_matrix(table.column(name)) for name in ("embedding", "half", "codes", "bits")}
    chosen = np.random.default_rng(0).choice(table.num_rows, 500, replace=False)
    signs = np.unpackbits(columns.pop("bits"), axis=1).astype(np.float32) * 2 - 1
    scores = {name: (found := codes.astype(np.float32))[chosen] @ found.T for name, codes in columns.items()}
    best = {name: np.argsort(-found, axis=1, kind="stable")[:, :10] for name, found in scores.items()}
    candidates = np.argsort(-(signs[chosen] @ signs.T), axis=1, kind="stable")[:, :40]
    order = np.argsort(-np.take_along_axis(scores["codes"], candidates, axis=1), axis=1, kind="stable")[:, :10]
    best["bits"] = np.take_along_axis(candidates, order, axis=1)
    recall = {name: float((found[:, :, None] == best["embedding"][:, None, :]).any(axis=2).mean()) for name, found in best.items()}
    assert recall["half"] >= 0.9995 and recall["codes"] >= 0.99 and recall["bits"] >= 0.975, recall


def test_verify_says_the_same(compact: Path) -> None:
    """A row is left out of its own answers there, which is a little harder."""
    found = {each.column: each for each in measure_recall(open_folder(str(compact)), 500).columns}
    assert found["half"].recall >= 0.999 and found["codes"].recall >= 0.99 and found["bits"].recall < 0.85
    rescored = found["bits"].rescored
    assert rescored is not None and rescored >= 0.97 and found["bits"].rescored_by == "codes"
    assert {column: each.bytes for column, each in found.items()} == {"embedding": 1536, "half": 768, "codes": 384, "bits": 48}


TAKEN = [
    ("postgresql", "half"), ("postgresql", "bits"), ("usearch", "half"), ("usearch", "codes"), ("usearch", "bits"), ("faiss", "bits"), ("lancedb", "half"),
    ("lancedb", "bits"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "column"), TAKEN)
def test_an_index_that_takes_the_form(name: str, column: str, compact: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    postgres = request.getfixturevalue("postgres") if name == "postgresql" else ""
    done = load(str(compact), address_of(name, tmp_path, postgres), Options(vector=column, probe=True))
    assert done.checked is not None and done.checked.sampled == 100 and done.checked.recall is not None
    assert done.checked.recall >= (1.0 if name == "faiss" else 0.95), "of the ten nearest by comparing these codes with all others"
    table = embermill.open_dataset(str(compact)).read_all()
    expected = dict(zip(table.column("id").to_pylist(), to_matrix(table.column(column)), strict=True))
    found = READERS[name](tmp_path, postgres, column, expected[next(iter(expected))].dtype)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[each], codes) for each, codes in expected.items())


def read_postgresql(folder: Path, postgres: str, column: str, dtype: Any) -> dict[str, np.ndarray]:
    import psycopg
    from pgvector.psycopg import register_vector

    with psycopg.connect(postgres) as connection:
        register_vector(connection)
        name = "t" + folder.name.replace("-", "_")
        kind = connection.execute("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s", [name, column])
        assert kind.fetchone() == ({"half": "halfvec(384)", "bits": "bit(384)"}[column],)
        found = connection.execute(f'SELECT id, "{column}"::text FROM "{name}"').fetchall()  # type: ignore[call-overload]
    if column == "bits":
        return {each: np.packbits(np.frombuffer(text.encode(), np.uint8) == ord("1")) for each, text in found}
    return {each: np.array(text.strip("[]").split(","), np.float32).astype(np.float16) for each, text in found}


def read_lancedb(folder: Path, postgres: str, column: str, dtype: Any) -> dict[str, np.ndarray]:
    import lancedb

    table = lancedb.connect(str(folder / "lancedb")).open_table("docs").to_arrow()
    return dict(zip(table.column("id").to_pylist(), to_matrix(table.column(column)), strict=True))


def read_usearch(folder: Path, postgres: str, column: str, dtype: Any) -> dict[str, np.ndarray]:
    from usearch.index import Index, ScalarKind

    index = Index.restore(str(folder / "usearch"))
    assert index is not None and index.dtype == {"half": ScalarKind.F16, "codes": ScalarKind.I8, "bits": ScalarKind.B1}[column]
    kind = {"half": ScalarKind.F16, "codes": ScalarKind.I8, "bits": ScalarKind.B1}[column]
    return by_key(folder / "usearch.rows.parquet", lambda key: np.asarray(index.get(key, kind)).view(dtype))


def read_faiss(folder: Path, postgres: str, column: str, dtype: Any) -> dict[str, np.ndarray]:
    import faiss

    index = faiss.read_index_binary(str(folder / "faiss"))
    return by_key(folder / "faiss.rows.parquet", lambda key: index.reconstruct(key))


def by_key(path: Path, vector: Any) -> dict[str, np.ndarray]:
    import pyarrow.parquet as pq

    return {row["id"]: vector(row["embermill_key"]).reshape(-1) for row in pq.read_table(path).to_pylist()}


READERS = {"postgresql": read_postgresql, "lancedb": read_lancedb, "usearch": read_usearch, "faiss": read_faiss}


LITE = r"\(Milvus Lite .* has neither FLOAT16_VECTOR nor BINARY_VECTOR, a Milvus server has both\)"
REFUSED = [
    ("faiss", "codes", "float32 or ubinary", ""), ("duckdb", "half", "float32", ""), ("chroma", "bits", "float32", ""),
    ("milvus", "half", "float32", f" {LITE}"), ("milvus", "bits", "float32", f" {LITE}"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "column", "takes", "note"), REFUSED)
def test_a_form_that_a_target_does_not_take_is_refused_before_the_first_write(
    name: str, column: str, takes: str, note: str, compact: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"takes {takes} vectors, the column {column} holds [a-z0-9]+{note}: choose another with --vector"):
        load(str(compact), address_of(name, tmp_path), Options(vector=column))
    assert not [path for path in tmp_path.iterdir() if path.is_file() and path.stat().st_size and "lock" not in path.name]


def test_an_index_that_bits_cannot_have_is_left_out(compact: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="index=ivf_pq: a column of bits has no such index: leave the option out"):
        load(str(compact), address_of("lancedb", tmp_path, index="ivf_pq"), Options(vector="bits"))
    assert load(str(compact), address_of("lancedb", tmp_path), Options(vector="bits")).upserted > 0
