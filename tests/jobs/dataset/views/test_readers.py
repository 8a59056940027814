"""Every file of a dataset, read back by pyarrow, DuckDB and Polars: the same rows, columns and types that a vector index would load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.manifest import publish_manifest
from embermill.jobs.plan.files import write_plan
from embermill.jobs.storage import open_folder
from tests.jobs.sample_dataset import make_plan, write_dataset


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, plan = tmp_path_factory.mktemp("dataset"), make_plan(2)
    folder = open_folder(str(path))
    write_plan(folder, plan)
    log = CommitLog(folder)
    log.append(write_dataset(path, plan))
    publish_manifest(folder, plan, log)
    return path


def plain(value: Any) -> Any:
    """Maps are dictionaries in one reader and pairs in another, tuples lists."""
    if isinstance(value, dict) and set(value) == {"key", "value"}:
        return plain([value["key"], value["value"]])
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    return [{name: plain(value) for name, value in row.items()} for row in table.to_pylist()]


def rows_of_duckdb(files: str) -> list[dict[str, Any]]:
    with duckdb.connect() as connection:
        found = connection.sql(f"SELECT * FROM read_parquet('{files}')").to_arrow_table()
    return rows_of(found)


def parquet_files(root: Path) -> list[Path]:
    return sorted(root.rglob("*.parquet"))


def test_there_is_a_file_of_every_kind(root: Path) -> None:
    folders = {folder.name for path in parquet_files(root) for folder in path.relative_to(root).parents}
    assert folders >= {"data", "quarantine", "commits", "manifests", "plan"}


def test_every_parquet_file_reads_the_same_everywhere(root: Path) -> None:
    for path in parquet_files(root):
        expected = rows_of(pq.read_table(path))
        assert expected, path
        assert rows_of_duckdb(str(path)) == expected, path
        assert rows_of(polars.read_parquet(path).to_arrow()) == expected, path


def test_every_json_file_reads(root: Path) -> None:
    found = [json.loads(path.read_text()) for path in sorted(root.rglob("*.json"))]
    assert len(found) == 4  # format.json, the manifest's root, the plan's and its copy


def test_a_plain_glob_is_the_dataset_in_row_order(root: Path) -> None:
    expected = rows_of(pa.concat_tables(pq.read_table(path) for path in sorted((root / "data").iterdir())))
    assert [row["id"] for row in expected[:4]] == ["p0-0", "p0-1", "p0-2", "p0-4"] and len(expected) == 496
    assert rows_of(pads.dataset(root / "data").to_table()) == expected
    assert rows_of_duckdb(f"{root}/data/*.parquet") == expected
    assert rows_of(polars.read_parquet(f"{root}/data/*.parquet").to_arrow()) == expected


def test_engines_skip_what_is_ours_in_the_datasets_folder(root: Path) -> None:
    """pyarrow and Hive-like readers ignore names that begin with an underscore; quarantine/ has a schema of its own and is not below data/."""
    assert {Path(file).parts[-2] for file in pads.dataset(root).files} == {"data", "quarantine"}


def test_vectors_are_vectors_to_each(root: Path) -> None:
    shard = str(min((root / "data").iterdir()))
    assert polars.read_parquet(shard).schema["embedding"] == polars.Array(polars.Float32, 4)
    with duckdb.connect() as connection:
        ((kind,),) = connection.execute(f"SELECT typeof(embedding) FROM '{shard}' LIMIT 1").fetchall()
        ((nearest,),) = connection.execute(
            f"SELECT id FROM '{shard}' ORDER BY array_distance(embedding::FLOAT[4], (SELECT embedding FROM '{shard}' WHERE id = 'p0-7')::FLOAT[4]), id LIMIT 1"
        ).fetchall()
    assert kind in ("FLOAT[4]", "FLOAT[]") and nearest == "p0-7"
