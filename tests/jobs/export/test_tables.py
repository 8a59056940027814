"""Formats and encodings read back by the libraries that they are for; in the environment of infra/lock-index.txt."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest

from embermill.jobs.export.exporting import find_format
from tests.jobs.command_line import open_inline_pool, run
from tests.jobs.export.exported import KEPT, KINDS, Killed, corpus_rows, export, killed_at, make_dataset, rows_of

pytestmark = [pytest.mark.index, pytest.mark.filterwarnings("default")]  # what these libraries warn of is theirs
TABLES = ("lance", "delta", "iceberg")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("tables"))


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with mock.patch("embermill.jobs.export.formats.tables.PIECE_ROWS", 9), mock.patch("embermill.jobs.export.source.PART_ROWS", 3):
        yield


def read_table(name: str, out: Path) -> list[dict[str, Any]]:
    """By the library's own reader, sorted by id."""
    if name == "lance":
        import lance

        table = lance.dataset(str(out / "data.lance")).to_table()
    elif name == "delta":
        from deltalake import DeltaTable

        table = pa.table(DeltaTable(str(out / "table")).to_pyarrow_table())
    else:
        from pyiceberg.catalog.sql import SqlCatalog

        catalog = SqlCatalog("export", uri=f"sqlite:///{out}/catalog.db", warehouse=f"file://{out}/warehouse")
        table = catalog.load_table("embermill.embeddings").scan().to_arrow()
        catalog.close()
    return sorted(table.to_pylist(), key=lambda row: str(row["id"]))


def same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(found) == len(expected)
    for row, other in zip(found, sorted(expected, key=lambda row: str(row["id"])), strict=True):
        assert row.keys() == other.keys()
        assert np.array_equal(np.array(row["embedding"], np.float32), np.array(other["embedding"], np.float32))
        for name in row.keys() - {"embedding"}:
            assert row[name] == other[name] or (isinstance(row[name], float) and math.isnan(row[name]) and math.isnan(other[name])), (name, row[name])


@pytest.mark.parametrize("name", TABLES)
def test_a_table(dataset: Path, tmp_path: Path, name: str) -> None:
    answer = export(dataset, name, tmp_path / "x")
    assert answer["rows"] == 58
    same(read_table(name, tmp_path / "x"), rows_of(dataset))
    assert export(dataset, name, tmp_path / "x")["resumed_rows"] == 58


@pytest.mark.parametrize("name", TABLES)
def test_a_table_killed_around_every_commit(dataset: Path, tmp_path: Path, name: str) -> None:
    """Before a piece is committed, and after that and before it is noted."""
    kind, resumed = find_format(name), 0
    for number in range(1, 30):
        with killed_at(kind, "append", 1 + number % 2, before=bool(number % 3)) as happened, contextlib.suppress(Killed):
            resumed = export(dataset, name, tmp_path / "x")["resumed_rows"]
        if not happened():
            break
    assert resumed > 0 and number > 3
    same(read_table(name, tmp_path / "x"), rows_of(dataset))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_no_rows(tmp_path: Path, name: str) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.jsonl").write_text("")
    with mock.patch("embermill.jobs.run.open_pool", open_inline_pool):
        answer = run(tmp_path, corpus={"files": [str(tmp_path / "corpus/a.jsonl")]})
    assert answer.code == 0, answer.errors
    export(answer.output, name, tmp_path / "x")
    assert read_table(name, tmp_path / "x") == []


def test_hugging_face(dataset: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    export(dataset, "hf", tmp_path / "x")
    loaded = load_dataset(str(tmp_path / "x"), cache_dir=str(tmp_path / "cache"))
    found = sorted(loaded["train"].with_format("arrow")[:].to_pylist(), key=lambda row: str(row["id"]))
    same(found, rows_of(dataset))


@pytest.fixture(scope="module", params=["compact", "portable"])
def encoded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A dataset of one version, in either encoding."""
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp(request.param)
    (folder / "corpus").mkdir()
    pq.write_table(pa.Table.from_pylist(corpus_rows(""), KINDS), folder / "corpus/a.parquet")
    with mock.patch("embermill.jobs.run.open_pool", open_inline_pool):
        answer = run(folder, corpus={"keep_columns": KEPT}, output_section={"encoding": request.param})
    assert answer.code == 0, answer.errors
    return request.param, answer.output


def vectors_and_ids(rows: list[dict[str, Any]]) -> list[tuple[str, list[float]]]:
    return sorted((row["id"], np.asarray(row["embedding"], np.float32).tolist()) for row in rows)


def read_pandas(output: Path) -> list[dict[str, Any]]:
    import pandas

    return [*pandas.read_parquet(output / "data", columns=["id", "embedding"]).to_dict("records")]


def read_fastparquet(output: Path) -> list[dict[str, Any]]:
    import fastparquet

    files = sorted(str(path) for path in (output / "data").glob("*.parquet"))
    return [*fastparquet.ParquetFile(files).to_pandas(columns=["id", "embedding"]).to_dict("records")]


def read_datafusion(output: Path) -> list[dict[str, Any]]:
    import datafusion

    context = datafusion.SessionContext()
    context.register_parquet("t", str(output / "data"))
    found: list[dict[str, Any]] = context.sql("SELECT id, embedding FROM t").to_pylist()
    return found


def read_polars(output: Path) -> list[dict[str, Any]]:
    import polars

    return polars.read_parquet(f"{output}/data/*.parquet", columns=["id", "embedding"]).to_dicts()


def read_duckdb(output: Path) -> list[dict[str, Any]]:
    import duckdb

    found = duckdb.execute(f"SELECT id, embedding FROM '{output}/data/*.parquet'").fetchall()
    return [{"id": key, "embedding": vector} for key, vector in found]


def read_datasets(output: Path) -> list[dict[str, Any]]:
    from datasets import load_dataset

    loaded = load_dataset(str(output), cache_dir=str(output.parent / "cache"))
    found: list[dict[str, Any]] = loaded["train"].select_columns(["id", "embedding"]).to_list()
    return found


READERS = {"pandas": read_pandas, "datafusion": read_datafusion, "polars": read_polars, "duckdb": read_duckdb, "datasets": read_datasets}


@pytest.mark.parametrize("reader", READERS)
def test_both_encodings_are_read(encoded: tuple[str, Path], reader: str) -> None:
    assert vectors_and_ids(READERS[reader](encoded[1])) == vectors_and_ids(rows_of(encoded[1]))


def test_fastparquet_reads_portable_shards(encoded: tuple[str, Path]) -> None:
    if encoded[0] == "portable":
        assert vectors_and_ids(read_fastparquet(encoded[1])) == vectors_and_ids(rows_of(encoded[1]))
    else:
        with pytest.raises(Exception):  # noqa: B017 — whatever it raises for byte-stream splitting: this is what the encoding is for
            assert vectors_and_ids(read_fastparquet(encoded[1])) == vectors_and_ids(rows_of(encoded[1]))
