"""The reading rule gives the same rows in DuckDB, Polars and pyarrow, whatever lies in the dataset's folder beside what a version names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest

import embermill
from embermill.jobs.commands.versions import SQL_ENGINES
from embermill.jobs.dataset.metadata.versions import read_version
from embermill.jobs.dataset.views.opening import open_version
from embermill.jobs.dataset.views.reading_rule import ENGINES, reading_rule
from embermill.jobs.storage import open_folder
from tests.jobs.histories.world import Rows, World, open_world

SEEDS = range(4)


def test_the_command_line_offers_every_engine() -> None:
    assert sorted(ENGINES) == sorted(SQL_ENGINES)


def save(world: World, folder: Path) -> Path:
    for name, data in world.folder.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def read_duckdb(query: str) -> pa.Table:
    relation = duckdb.connect().sql(query)
    assert relation is not None
    return relation.to_arrow_table()


def read_polars(program: str) -> pa.Table:
    names: dict[str, Any] = {}
    exec(program, names)
    rows = names["rows"].collect()
    assert isinstance(rows, pl.DataFrame)
    return rows.to_arrow()


def rows_in(table: pa.Table) -> Rows:
    ids = table.column("id").to_pylist()
    assert len(set(ids)) == len(ids), "a row is live twice"
    return dict(zip(ids, table.column("num_tokens").to_pylist(), strict=True))


def plain(table: pa.Table) -> list[dict[str, Any]]:
    return sorted(table.to_pylist(), key=lambda row: str(row["id"]))


@pytest.mark.parametrize("seed", SEEDS)
def test_all_engines_read_every_version_alike(seed: int, tmp_path: Path) -> None:
    """Abandoned versions, zombies' files, killed compactions and files of versions in the making lie about; the folder's name is full of traps."""
    world = open_world(seed, 8)
    world.sync()
    world.abandon()
    world.begin()
    require_alike(world, save(world, tmp_path / "lang=de/it's [a-z]* 1"), [number for number in world.snapshots if number not in world.retired])
    world.outrun()
    world.compact()
    world.gc()
    world.sync()
    require_alike(world, save(world, tmp_path / "later"), [max(world.snapshots)])


def require_alike(world: World, folder: Path, numbers: list[int]) -> None:
    for number in numbers:
        plan, version = open_version(open_folder(str(folder)), number)
        library = embermill.open_dataset(str(folder), version=number).read_all()
        assert rows_in(library) == world.snapshots[number], world.history
        expected = plain(library)
        for engine, read in (("duckdb", read_duckdb), ("polars", read_polars)):
            found = read(reading_rule(open_folder(str(folder)), plan, version, engine))
            assert set(found.column_names) == set(library.schema.names), engine
            assert plain(found.select(library.schema.names)) == expected, (engine, number, world.history)


def test_a_dataset_without_the_column_is_of_version_1(old_dataset: Any, tmp_path: Path) -> None:
    """Of a dataset that 21abdb6 made."""
    folder = open_folder(str(old_dataset("articles-finished").folder))
    plan, version = open_version(folder)
    assert not plan.tells_versions and read_version(folder).number == 1
    library = embermill.open_dataset(folder.root).read_all()
    assert set(library.column("version").to_pylist()) == {1} and library.num_rows == version.totals["rows"]
    assert rows_of(read_duckdb(reading_rule(folder, plan, version, "duckdb")), plan.rows.id_name) == rows_of(library, plan.rows.id_name)
    assert rows_of(read_polars(reading_rule(folder, plan, version, "polars")), plan.rows.id_name) == rows_of(library, plan.rows.id_name)


def rows_of(table: pa.Table, id_name: str) -> list[tuple[str, str, int]]:
    return sorted(zip(*(map(str, table.column(name).to_pylist()) for name in (id_name, "text_hash")), table.column("version").to_pylist(), strict=True))
