"""USearch loses rows that several threads add at once (its issue 735): ours are added by one, and each is found by its own vector."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from embermill.jobs.errors import UsageError
from embermill.jobs.index.running import Options, load
from tests.jobs.index.targets.reading import Rows

pytestmark = pytest.mark.index


@pytest.mark.parametrize(("option", "expected"), [("", 1), ("?threads=2", 2)])
def test_threads_that_add(option: str, expected: int, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from usearch.index import Index

    add, used = Index.add, set()

    def counted(self: Index, keys: np.ndarray, vectors: np.ndarray, *, threads: int) -> object:
        used.add(threads)
        return add(self, keys, vectors, threads=threads)

    monkeypatch.setattr(Index, "add", counted)
    load(str(demo), f"usearch:{tmp_path}/docs{option}", Options())
    assert used == {expected}


@pytest.mark.parametrize("threads", ["0", "-1", "two", ""])
def test_a_number_of_threads_that_is_none(threads: str, demo: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"threads={threads}: expected a whole number, 1 or more"):
        load(str(demo), f"usearch:{tmp_path}/docs?threads={threads}", Options())
    assert not (tmp_path / "docs").exists()


def test_each_row_is_found_by_its_own_vector(demo: Path, rows_of: Callable[[int], Rows], tmp_path: Path) -> None:
    from usearch.index import Index

    for version in (1, 2):
        load(str(demo), f"usearch:{tmp_path}/docs", Options(to=version))
        index, rows, table = Index.restore(str(tmp_path / "docs")), rows_of(version), pq.read_table(tmp_path / "docs.rows.parquet")
        assert index is not None
        found = index.search(np.stack([rows[each][0] for each in table.column("id").to_pylist()]), 10).keys
        assert (found == table.column("embermill_key").to_numpy()[:, None]).any(axis=1).all()
