"""`duckdb:` with the DuckDB that is installed: 2 in `make test`, the 1.5 that has an extension for vectors in `make test-index`."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import numpy as np
import pytest

from embermill.jobs.errors import UsageError
from embermill.jobs.index.running import Options, load
from embermill.jobs.index.targets.duckdb import DuckDBTarget
from tests.jobs.histories.world import World
from tests.jobs.index.loads import expected, save


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
