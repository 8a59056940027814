"""A table of somebody else's in a real index, and one index under two names: refused in words or taken for what it is, with nothing left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from embermill.jobs.errors import AnotherRun, UsageError
from embermill.jobs.index.opening import parse_address, target_class
from embermill.jobs.index.running import Options, load
from tests.jobs.index.targets.reading import address_of
from tests.jobs.index.targets.test_refusals import make

pytestmark = [pytest.mark.index, pytest.mark.timeout(600)]
ROWS = 20


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make(tmp_path / "ds", 8)


def execute(postgres: str, *statements: str) -> list[Any]:
    """Rows of the last of them."""
    import psycopg

    with psycopg.connect(postgres) as connection:
        for statement in statements:
            found = connection.execute(statement)  # type: ignore[call-overload]
        return [*found] if found.description else []


@pytest.mark.parametrize(("name", "made", "message"), [
    ("fit_a", "TABLE fit_a (id text, title text)", r"has no columns embedding, lang \(it has id, title\): name a new one"),
    ("fit_b", "TABLE fit_b (id bigint, embedding vector(8), lang text)", "column id of the table that is there is bigint, expected text"),
    ("fit_c", "TABLE fit_c (id text, embedding vector(8), lang text, day date NOT NULL)", "wants a value in column day of every row"),
    ("fit_d", "VIEW fit_d AS SELECT 1 AS id", "fit_d is a view there, and rows go into tables"),
])  # fmt: skip
def test_a_table_of_somebody_else_in_postgresql(dataset: Path, tmp_path: Path, postgres: str, name: str, made: str, message: str) -> None:
    load(str(dataset), address_of("postgresql", tmp_path, postgres, table="fit_first"), Options())
    execute(postgres, f"CREATE {made}")
    for options in (Options(), Options(adopt=True), Options(dry_run=True)):
        with pytest.raises(UsageError, match=message):
            load(str(dataset), address_of("postgresql", tmp_path, postgres, table=name), options)
    assert execute(postgres, f"SELECT * FROM embermill_cursor WHERE table_name = '{name}'") == []


def test_a_table_of_somebody_else_that_fits_in_postgresql(dataset: Path, tmp_path: Path, postgres: str) -> None:
    execute(
        postgres, "CREATE EXTENSION IF NOT EXISTS vector",
        "CREATE TABLE fit_e (id varchar(99), embedding vector(8), lang text, n int GENERATED ALWAYS AS IDENTITY, day date NOT NULL DEFAULT now())",
    )  # fmt: skip
    assert load(str(dataset), address_of("postgresql", tmp_path, postgres, table="fit_e"), Options()).rows == ROWS


@pytest.mark.parametrize("table", ["embermill_cursor", "public.embermill_cursor", "public."])
def test_names_that_cannot_be_meant_in_postgresql(dataset: Path, tmp_path: Path, postgres: str, table: str) -> None:
    with pytest.raises(UsageError, match=r"name another table|name the table behind the point"):
        load(str(dataset), address_of("postgresql", tmp_path, postgres, table=table), Options())


@pytest.mark.parametrize("there", [True, False])
def test_a_table_under_its_schema_too_has_one_lock(dataset: Path, tmp_path: Path, postgres: str, there: bool) -> None:
    name = f"fit_lock_{there}".lower()
    plain, full = (address_of("postgresql", tmp_path, postgres, table=table) for table in (name, f"public.{name}"))
    if there:
        load(str(dataset), plain, Options())
    address = parse_address(plain)
    held = target_class(address)(address)
    held.lock()
    with pytest.raises(AnotherRun):
        load(str(dataset), full, Options())
    held.close()
    assert load(str(dataset), full, Options()).upserted == (0 if there else ROWS)


def test_a_table_of_somebody_else_in_lancedb(dataset: Path, tmp_path: Path) -> None:
    import lancedb
    import pyarrow as pa

    table = lancedb.connect(str(tmp_path / "lancedb")).create_table("docs", schema=pa.schema([("id", pa.string()), ("title", pa.string())]))
    for options in (Options(), Options(adopt=True)):
        with pytest.raises(UsageError, match=r"has no columns embedding, lang \(it has id, title\)"):
            load(str(dataset), address_of("lancedb", tmp_path), options)
    table.checkout_latest()
    assert table.count_rows() == 0 and not table.to_lance().config()


@pytest.mark.parametrize("name", ["faiss", "usearch"])
def test_a_link_is_another_name_of_the_same_index(dataset: Path, tmp_path: Path, name: str) -> None:
    link = tmp_path / "elsewhere" / "link"
    link.parent.mkdir()
    load(str(dataset), address_of(name, tmp_path), Options())
    (index,) = [path for path in tmp_path.iterdir() if path.name == name]
    link.symlink_to(index)
    done = load(str(dataset), f"{name}:{link}", Options())
    assert (done.before, done.upserted, done.created) == (1, 0, False) and link.is_symlink() and [*link.parent.iterdir()] == [link]
    address = parse_address(f"{name}:{link}")
    held = target_class(address)(address)
    held.lock()
    with pytest.raises(AnotherRun):
        load(str(dataset), address_of(name, tmp_path), Options())
    held.close()
