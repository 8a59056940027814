"""Datasets with a history, and loads of them into a target of SQLite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from embermill.jobs.dataset.metadata.versions import read_version
from embermill.jobs.dataset.views.live import LiveRows
from embermill.jobs.index.running import Loaded, Options, load
from embermill.jobs.storage import open_folder
from tests.jobs.histories.world import World
from tests.jobs.index.sqlite_target import Killed, SqliteTarget, contents

CLASS = "python:tests.jobs.index.sqlite_target:SqliteTarget"


def save(world: World, folder: Path) -> Path:
    """The files of a dataset in memory, as they are now."""
    for name in {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - world.folder.files.keys():
        (folder / name).unlink()
    for name, data in world.folder.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def address(path: Path, transactional: bool = True) -> str:
    return f"{CLASS}?path={path}" + ("" if transactional else "&transactional=no")


def expected(dataset: Path, number: int | None = None) -> dict[Any, tuple[bytes, str]]:
    """What the target must hold: id -> (vector, kept columns), from the dataset's own reader."""
    folder = open_folder(str(dataset))
    from embermill.jobs.plan.files import require_plan

    table = pa.Table.from_batches([*LiveRows(folder, require_plan(folder), read_version(folder, number)).batches()])
    rows = {}
    for row in table.to_pylist():
        vector = pa.array(row["embedding"], pa.float32()).to_numpy().tobytes()
        rows[row["id"]] = (vector, json.dumps({"lang": row["lang"]}, sort_keys=True))
    assert len(rows) == table.num_rows
    return rows


def load_into(dataset: Path, path: Path, *, transactional: bool = True, **options: Any) -> Loaded:
    return load(str(dataset), address(path, transactional), Options(**options))


def load_killed(dataset: Path, path: Path, at: int, *, transactional: bool, **options: Any) -> bool:
    """Whether it was killed, at its operation number `at`."""
    SqliteTarget.operations, SqliteTarget.dies_at = 0, at
    try:
        load_into(dataset, path, transactional=transactional, **options)
        return False
    except Killed:
        return True
    finally:
        SqliteTarget.dies_at = -1


def require_equal(dataset: Path, path: Path, number: int | None = None) -> None:
    if contents(str(path)) != expected(dataset, number):
        pytest.fail("the target does not hold what the dataset's version does")
