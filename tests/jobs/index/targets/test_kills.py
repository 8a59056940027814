"""Each target, killed (SIGKILL) in the middle of a file and after every one, and run again; the whole feed replayed; two loaders at once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embermill
from embermill.jobs.errors import AnotherRun
from embermill.jobs.index.cursor import read_cursor
from embermill.jobs.index.opening import parse_address, target_class
from embermill.jobs.index.running import Options, load, open_targets
from tests.jobs.histories.world import World
from tests.jobs.index.loads import save
from tests.jobs.index.targets.conftest import ROOT
from tests.jobs.index.targets.reading import NORMALIZING, TARGETS, Rows, address_of, read, require_equal

pytestmark = [pytest.mark.index, pytest.mark.timeout(600)]
MOST_KILLS = 40


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest) -> Any:
    return lambda name: request.getfixturevalue("postgres") if name == "postgresql" else ""


@pytest.fixture
def history(tmp_path: Path) -> tuple[Path, Path]:
    """The same dataset at version 1, of three files, and at version 3, after two syncs."""
    world = World(4)
    first = save(world, tmp_path / "first")
    while len(world.snapshots) < 3:
        world.sync()
    return first, save(world, tmp_path / "later")


def expected(dataset: Path) -> Rows:
    table = embermill.open_dataset(str(dataset)).read_all()
    vectors = np.concatenate([chunk.flatten().to_numpy() for chunk in table.column("embedding").chunks]).reshape(table.num_rows, -1)
    return dict(zip(table.column("id").to_pylist(), zip(vectors, table.select(["lang"]).to_pylist(), strict=True), strict=True))


def load_killed(dataset: Path, address: str, at: int) -> bool:
    """Whether it was killed."""
    command = [sys.executable, "-m", "tests.jobs.index.targets.killed_load", str(dataset), address, str(at), "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr[-2000:]
    return done.returncode != 0


def check(name: str, folder: Path, dataset: Path, postgres: str) -> None:
    require_equal(read(name, folder, postgres, ("lang",)), expected(dataset), name in NORMALIZING)


@pytest.mark.parametrize("name", TARGETS)
def test_killed_again_and_again(name: str, history: tuple[Path, Path], postgres_url: Any, tmp_path: Path) -> None:
    """Each process dies at its second or third operation after the cursor was read: in a file, or right after its commit; and the next one resumes."""
    postgres, folder = postgres_url(name), tmp_path / f"kill_{name}"
    folder.mkdir()
    address = address_of(name, folder, postgres)
    kills = 0
    for dataset in history:
        for at in range(3, 3 + MOST_KILLS):
            if not load_killed(dataset, address, at):
                break
            kills += 1
        else:
            pytest.fail("it never came through")
        done = load(str(dataset), address, Options())
        assert done.checked is not None and done.upserted == 0
        check(name, folder, dataset, postgres)
    assert kills >= 4, kills


@pytest.mark.parametrize("name", TARGETS)
def test_the_whole_feed_replayed_and_two_loaders(name: str, history: tuple[Path, Path], postgres_url: Any, tmp_path: Path) -> None:
    _, dataset = history
    postgres, folder = postgres_url(name), tmp_path / f"replay_{name}"
    folder.mkdir()
    address = address_of(name, folder, postgres)
    load(str(dataset), address, Options())
    before = read(name, folder, postgres, ("lang",))
    parsed = parse_address(address)
    for version in (0, 1):
        with open_targets(parsed, target_class(parsed), 1) as targets:
            standing = targets[0].describe()
            assert standing is not None and standing.cursor is not None
            cursor = read_cursor(standing.cursor, name)
            targets[0].prepare(layout_of(dataset, parsed))
            targets[0].commit(cursor.reached(version).to_text())
            targets[0].finish(layout_of(dataset, parsed))
            with pytest.raises(AnotherRun):
                load(str(dataset), address, Options())
        done = load(str(dataset), address, Options(adopt=True))
        assert done.upserted > 0 and done.version == cursor.version
        require_equal(read(name, folder, postgres, ("lang",)), before, False)
    check(name, folder, dataset, postgres)


def layout_of(dataset: Path, address: Any) -> Any:
    from embermill.jobs.index.opening import metric_of
    from embermill.jobs.index.source import describe_source
    from embermill.jobs.plan.files import require_plan
    from embermill.jobs.storage import open_folder

    folder = open_folder(str(dataset))
    return describe_source(folder, require_plan(folder), metric_of(address, target_class(address)), None, {}).layout
