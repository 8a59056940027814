"""`duckdb:` with the DuckDB that is installed: 2 in `make test`, the 1.5 that has an extension for vectors in `make test-index`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from embermill.jobs.errors import UsageError
from embermill.jobs.index.running import Options, load
from embermill.jobs.index.targets.duckdb import DuckDBTarget
from tests.jobs.histories.world import World
from tests.jobs.index.loads import expected, save
from tests.jobs.index.targets.test_refusals import make
from tests.jobs.sample_dataset import DIM


@pytest.mark.filterwarnings("error")
def test_a_load_and_a_feed(tmp_path: Path) -> None:
    world, path = World(4), tmp_path / "docs.duckdb"
    for version in (1, 2):
        dataset = save(world, tmp_path / "ds")
        done = load(str(dataset), f"duckdb:{path}?table=docs", Options(probe=True, alias="current"))
        assert done.version == version and done.checked is not None and done.checked.recall == 1.0
        with duckdb.connect(str(path), read_only=True) as database:
            found = {each: np.array(vector, np.float32).tobytes() for each, vector in database.execute("SELECT id, embedding FROM current").fetchall()}
        assert found == {each: vector for each, (vector, _) in expected(dataset).items()}
        world.sync()


NO_SPACE = 'IO Error: Could not write file "{}": No space left on device'


@pytest.mark.parametrize("when", ["new", "later", "at the end"])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """As DuckDB 2.0 says it where a file is begun, where rows are committed, and where it ends. The same command writes what is missing."""
    dataset, path = save(World(4), tmp_path / "ds"), tmp_path / "docs.duckdb"
    connect = duckdb.connect

    def full(*arguments: object, **named: object) -> None:
        raise duckdb.IOException(NO_SPACE.format(path))

    def begun(place: str) -> duckdb.DuckDBPyConnection:
        if place == str(path):
            path.write_bytes(bytes(100))
            full()
        return connect(place)

    with monkeypatch.context() as during:
        if when == "new":
            during.setattr("duckdb.connect", begun)
        else:
            during.setattr(DuckDBTarget, "upsert" if when == "later" else "finish", full)
        with pytest.raises(UsageError) as refused:
            load(str(dataset), f"duckdb:{path}", Options())
    words = rf"target duckdb:{path}: cannot be used: its disk is full \(No space left on device, [\d,]+ of [\d,]+ bytes are free\): .* the same command again"
    assert re.search(words, str(refused.value)), refused.value
    assert load(str(dataset), f"duckdb:{path}", Options()).rows == len(expected(dataset))


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """DuckDB would open it, and the rows would be in memory alone."""
    dataset, other = save(World(4), tmp_path / "ds"), tmp_path / "notes.jsonl"
    other.write_text('{"id": 1, "text": "of somebody"}\n')
    with pytest.raises(UsageError, match="expected a DuckDB database, or a file that is not there yet, and this one is something else: name another file"):
        load(str(dataset), f"duckdb:{other}", Options())
    with pytest.raises(UsageError, match="cannot be used: Is a directory: choose another place"):
        load(str(dataset), f"duckdb:{tmp_path}", Options())
    assert other.read_text() == '{"id": 1, "text": "of somebody"}\n'
    load(str(dataset), f"duckdb:{tmp_path}/new.duckdb", Options())


def tables(path: Path) -> dict[str, list[Any]]:
    """Everything in the database: name -> its columns and rows."""
    with duckdb.connect(str(path), read_only=True) as database:
        names = [name for (name,) in database.execute("SELECT table_name FROM information_schema.tables ORDER BY 1").fetchall()]
        return {name: [database.execute(f'DESCRIBE "{name}"').fetchall(), database.execute(f'FROM "{name}" ORDER BY ALL').fetchall()] for name in names}


def refuse(dataset: Path, target: str, path: Path, message: str, **options: object) -> None:
    """Exit 2, saying so, with nothing written."""
    before = tables(path) if path.exists() else None
    with pytest.raises(UsageError, match=message):
        load(str(dataset), target, Options(**options))  # type: ignore[arg-type]
    assert (tables(path) if path.exists() else None) == before


def test_a_name_in_another_case_is_the_same_table(tmp_path: Path) -> None:
    """DuckDB folds A to Z, and no other letter."""
    world, path = World(4), tmp_path / "docs.duckdb"
    dataset, other = save(world, tmp_path / "ds"), make(tmp_path / "other", DIM, None)
    load(str(dataset), f"duckdb:{path}?table=Docs", Options())
    refuse(other, f"duckdb:{path}?table=docs", path, "was loaded from another dataset .*name a new one, or take it over with --adopt")
    world.sync()
    dataset = save(world, tmp_path / "ds")
    done = load(str(dataset), f"duckdb:{path}?table=DOCS", Options(alias="dOcS2"))
    assert (done.before, done.version, done.created) == (1, 2, False)
    assert len(tables(path)["Docs"][1]) == len(expected(dataset)) and len(tables(path)["embermill_cursor"][1]) == 1
    refuse(dataset, f"duckdb:{path}?table=more", path, "--alias DOCS: is a table or collection itself", alias="DOCS")
    load(str(other), f"duckdb:{path}?table=Ä", Options())
    load(str(dataset), f"duckdb:{path}?table=ä", Options())
    assert len(tables(path)["Ä"][1]) == len(expected(other)) and len(tables(path)["ä"][1]) == len(expected(dataset))


def test_a_table_that_was_loaded_under_two_names(tmp_path: Path) -> None:
    """As versions before this one did it."""
    dataset, path = save(World(4), tmp_path / "ds"), tmp_path / "docs.duckdb"
    load(str(dataset), f"duckdb:{path}?table=docs", Options())
    with duckdb.connect(str(path)) as database:
        database.execute("INSERT INTO embermill_cursor SELECT 'Docs', cursor FROM embermill_cursor")
    refuse(dataset, f"duckdb:{path}?table=docs", path, "kept the cursors of docs and Docs for it.* drop the table, delete these rows of embermill_cursor")
    with duckdb.connect(str(path)) as database:
        database.execute("DROP TABLE docs")
        database.execute("DELETE FROM embermill_cursor")
    assert load(str(dataset), f"duckdb:{path}?table=docs", Options()).rows == len(expected(dataset))


@pytest.mark.parametrize(("made", "message"), [
    ("TABLE docs (id TEXT, title TEXT)", r"has no columns embedding, lang \(it has id, title\): name a new one"),
    ("TABLE docs (id INTEGER, embedding FLOAT[4], lang TEXT)", "column id of the table that is there is INTEGER, expected VARCHAR: name a new one"),
    ("TABLE docs (ID TEXT, embedding FLOAT[8], lang TEXT)", r"column embedding of the table that is there is FLOAT\[8\], expected FLOAT\[4\]"),
    ("TABLE docs (id TEXT, embedding FLOAT[4], lang TEXT, day DATE NOT NULL)", "wants a value in column day of every row"),
    ("VIEW docs AS SELECT 1 AS id", "Docs is a view there, and rows go into tables: name the table behind it, or a new one"),
])  # fmt: skip
def test_a_table_of_somebody_else(tmp_path: Path, made: str, message: str) -> None:
    dataset, path = save(World(4), tmp_path / "ds"), tmp_path / "docs.duckdb"
    with duckdb.connect(str(path)) as database:
        database.execute(f"CREATE {made}")
    for options in ({}, {"adopt": True}, {"dry_run": True}):
        refuse(dataset, f"duckdb:{path}?table=Docs", path, message, **options)
    load(str(dataset), f"duckdb:{path}?table=new", Options())


def test_a_table_of_somebody_else_that_fits(tmp_path: Path) -> None:
    dataset, path = save(World(4), tmp_path / "ds"), tmp_path / "docs.duckdb"
    with duckdb.connect(str(path)) as database:
        database.execute("CREATE TABLE Docs (note TEXT, LANGUAGE TEXT, Id TEXT PRIMARY KEY, embedding FLOAT[4], day DATE NOT NULL DEFAULT today())")
    refuse(dataset, f"duckdb:{path}", path, r"has no column lang \(it has note, LANGUAGE, .*or give columns its names with --map")
    assert load(str(dataset), f"duckdb:{path}", Options(renamed={"lang": "language"})).rows == len(expected(dataset))


@pytest.mark.parametrize(("target", "message", "options"), [
    ("?table=Embermill_Cursor", "embermill keeps in embermill_cursor how far each table is: name another table", {}),
    ("?table=", r"table= names none: give it a name, or leave the option out \(table=docs\)", {}),
    ("?table=docs", "--alias: it is empty", {"alias": ""}),
    ("?table=docs", "--alias EMBERMILL_CURSOR: is a table or collection itself", {"alias": "EMBERMILL_CURSOR"}),
    ("?table=docs", "takes the columns id and ID for one: rename one of them with --map", {"renamed": {"lang": "ID"}}),
])  # fmt: skip
def test_names_that_cannot_be_meant(tmp_path: Path, target: str, message: str, options: dict[str, object]) -> None:
    dataset, path = save(World(4), tmp_path / "ds"), tmp_path / "docs.duckdb"
    refuse(dataset, f"duckdb:{path}{target}", path, message, **options)
    assert not path.exists()
    done = load(str(dataset), f"duckdb:{path}", Options(alias="current" if "alias" in options else None, renamed={"lang": "language"}))
    assert done.rows == len(expected(dataset))


def test_an_index_without_its_extension(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with DuckDB 2, for which there is none: running it again would not help."""
    monkeypatch.setattr("embermill.jobs.index.targets.duckdb.find_spec", lambda name: None)
    monkeypatch.setenv("HOME", str(tmp_path))
    dataset, path = save(World(4), tmp_path / "ds"), tmp_path / "docs.duckdb"
    words = r"index=hnsw needs the extension vss for DuckDB \d.*pip install 'embermill\[duckdb\]' installs .* or leave index=hnsw out"
    refuse(dataset, f"duckdb:{path}?index=hnsw", path, words)
    assert not path.exists() and load(str(dataset), f"duckdb:{path}", Options()).rows == len(expected(dataset))
