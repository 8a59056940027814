"""Loads that are killed at every operation, replayed, and followed through random histories, into a target with transactions and one without."""

from __future__ import annotations

from pathlib import Path

import pytest

from embermill.jobs.dataset.metadata.versions import read_version
from embermill.jobs.errors import UsageError
from embermill.jobs.index.cursor import Cursor, read_cursor
from embermill.jobs.storage import open_folder
from tests.jobs.histories.world import World, open_world
from tests.jobs.index.loads import load_into, load_killed, require_equal, save
from tests.jobs.index.sqlite_target import SqliteTarget, contents, opened

BOTH = pytest.mark.parametrize("transactional", [True, False])


@pytest.fixture(autouse=True)
def a_file_is_a_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SqliteTarget.unit_rows > 1
    monkeypatch.setattr(SqliteTarget, "unit_rows", 1)


def long_world(steps: int) -> World:
    """A history in which nothing was erased, so that every cursor stays good."""
    return next(world for world in (open_world(seed, steps) for seed in range(100)) if not world.erasures and len(world.snapshots) > 3)


def newest(dataset: Path) -> int:
    return read_version(open_folder(str(dataset))).number


@BOTH
@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 6))])
def test_a_target_follows_a_history_through_kills(seed: int, transactional: bool, tmp_path: Path) -> None:
    """Syncs, rollbacks, compactions and collected versions; each load is killed at some operation, and may be resumed only after further versions."""
    world, path = open_world(seed, 2), tmp_path / "index.db"
    for step in range(4):
        dataset = save(world, tmp_path / "ds")
        try:
            load_killed(dataset, path, world.rng.randrange(1, 12), transactional=transactional)
            if world.rng.random() < 0.5:
                world.step()
                dataset = save(world, tmp_path / "ds")
            loaded = load_into(dataset, path, transactional=transactional)
        except UsageError as error:  # what was erased after the cursor is told nowhere any more
            assert world.erasures and "rows were erased" in str(error), (error, world.history)
            path = tmp_path / f"index-{step}.db"
            loaded = load_into(dataset, path, transactional=transactional)
        assert loaded.version == newest(dataset), step
        require_equal(dataset, path)
        world.step()


def test_a_target_is_told_how_many_rows_a_first_load_brings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, told = long_world(4), []
    dataset = save(world, tmp_path / "ds")
    monkeypatch.setattr(SqliteTarget, "expect", lambda self, rows: told.append((self.count(), rows)))
    first = load_into(dataset, tmp_path / "index.db", to=1)
    load_into(dataset, tmp_path / "index.db")
    assert newest(dataset) > 1 and told == [(0, first.rows)]


@BOTH
def test_killed_at_every_operation_and_run_again(transactional: bool, tmp_path: Path) -> None:
    world = World(4)
    dataset = save(world, tmp_path / "ds")
    at = 0
    while True:
        at += 1
        path = tmp_path / f"{at}.db"
        if not load_killed(dataset, path, at, transactional=transactional):
            break
        again = load_into(dataset, path, transactional=transactional)
        require_equal(dataset, path)
        assert again.checked is not None and again.checked.rows == 12 and again.checked.sampled == 12
    assert at > 6  # three files, each written and committed


@pytest.mark.long
@BOTH
def test_a_feed_is_killed_at_every_operation(transactional: bool, tmp_path: Path) -> None:
    world = World(4)
    start = save(world, tmp_path / "start")
    while len(world.snapshots) < 3:
        world.sync()
    dataset = save(world, tmp_path / "ds")
    at = 0
    while True:
        at += 1
        path = tmp_path / f"{at}.db"
        load_into(start, path, transactional=transactional)
        if not load_killed(dataset, path, at, transactional=transactional):
            break
        load_into(dataset, path, transactional=transactional)
        require_equal(dataset, path)
    assert at > 6


@BOTH
def test_the_whole_feed_replayed_changes_nothing(transactional: bool, tmp_path: Path) -> None:
    world = long_world(6)
    dataset, path = save(world, tmp_path / "ds"), tmp_path / "index.db"
    load_into(dataset, path, transactional=transactional)
    before = contents(str(path))
    cursor = stored_cursor(path)
    for version in sorted({0, 1, cursor.version - 1} - {-1}):
        set_cursor(path, cursor.reached(version))
        load_into(dataset, path, transactional=transactional, adopt=True)
        assert contents(str(path)) == before
    SqliteTarget.operations = 0
    assert load_into(dataset, path).upserted == 0 and contents(str(path)) == before


def test_versions_one_by_one_or_at_once(tmp_path: Path) -> None:
    world = long_world(7)
    dataset = save(world, tmp_path / "ds")
    readable = [number for number in world.snapshots if number not in world.retired]
    for number in readable:
        load_into(dataset, tmp_path / "steps.db", to=number)
        require_equal(dataset, tmp_path / "steps.db", number)
    load_into(dataset, tmp_path / "once.db")
    assert contents(str(tmp_path / "once.db")) == contents(str(tmp_path / "steps.db"))


def test_several_workers_load_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SqliteTarget, "max_workers", None)
    monkeypatch.setattr(SqliteTarget, "_begin", lambda self: self._database.execute("PRAGMA busy_timeout=20000") and _begin(self))
    world = long_world(5)
    dataset = save(world, tmp_path / "ds")
    loaded = load_into(dataset, tmp_path / "index.db", workers=3)
    require_equal(dataset, tmp_path / "index.db")
    assert loaded.upserted == loaded.rows


def _begin(target: SqliteTarget) -> None:
    if not target._database.in_transaction:
        target._database.execute("BEGIN IMMEDIATE")


def stored_cursor(path: Path) -> Cursor:
    with opened(path) as database:
        return read_cursor(database.execute("SELECT text FROM cursor").fetchone()[0], "test")


def set_cursor(path: Path, cursor: Cursor) -> None:
    with opened(path) as database:
        database.execute("UPDATE cursor SET text = ?", (cursor.to_text(),))
