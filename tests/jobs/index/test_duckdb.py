"""`duckdb:` with the DuckDB that is installed: 2 in `make test`, the 1.5 that has an extension for vectors in `make test-index`."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest

from embermill.jobs.index.running import Options, load
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
