"""A seeded sample of the named points at which commands are killed; tests/bench/crash_points.py does all of them, and real workers and raylets."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.crash_points import choose, storage
from tests.jobs.crashes.points import DRIVER, WORKER
from tests.jobs.crashes.scenarios import Scenario, put_file
from tests.jobs.crashes.server import Commands, serve_commands
from tests.jobs.crashes.syncs import CLASSES, RemakeScenario, SyncScenario

PUBLISHED = (
    "create lease claim", "create format", "create plan segments", "create copy of plan segments", "create plan inputs", "create copy of plan inputs",
    "create plan root", "create copy of plan root", "publish quarantine file", "publish shard", "create commit", "create manifest table",
    "create manifest root", "create lease release",
)  # fmt: skip
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="a killed holder of the lease is told by /proc")


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    with serve_commands(tmp_path_factory.mktemp("words")) as commands:
        yield commands


@pytest.fixture(scope="module")
def whole_run(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    folder = tmp_path_factory.mktemp("run")
    return Scenario("run", commands, folder, str(folder), put_file)


@pytest.fixture
def rng() -> random.Random:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    return random.Random(seed)


def test_a_run_that_is_killed_equals_an_undisturbed_one(whole_run: Scenario, rng: random.Random) -> None:
    kinds = {point.kind for point in whole_run.points}
    named = {f"{phase} {what}" for what in PUBLISHED for phase in ("before", "linked", "after")} | {what for _, _, what in DRIVER + WORKER}
    assert named <= kinds, "each has its name still"
    for point in choose(whole_run.points, 3, rng):
        assert whole_run.round(point) == [], point


def test_a_driver_that_dies_before_the_last_copy_of_its_plan(whole_run: Scenario) -> None:
    """What was finished after it never verified: the copy of root.json was missed for good."""
    (point,) = [point for point in whole_run.points if point.name == "before create copy of plan root 1"]
    assert whole_run.round(point) == []


@pytest.mark.parametrize("name", ["redrive", "repair", "gc"])
def test_another_command_that_is_killed(name: str, commands: Commands, tmp_path: Path, rng: random.Random) -> None:
    scenario = Scenario(name, commands, tmp_path, str(tmp_path), put_file)
    assert scenario.points
    for point in choose(scenario.points, 1, rng):
        assert scenario.round(point) == [], point


def test_an_erasure_that_dies_between_its_manifest_and_its_commits_verifies(commands: Commands, tmp_path: Path) -> None:
    """Its commits went before the one that took their place, and until then named ids that the manifest no longer had: exit 3, with advice that was wrong."""
    scenario = CLASSES["erase"]("erase", commands, tmp_path, str(tmp_path), put_file)
    within = [point for point in scenario.points if point.name in ("after create manifest root 1", "after create commit 1", "after remove commit 1")]
    assert len(within) == 3
    for point in within:
        assert scenario.round(point) == [], point


SYNCED = (
    "create claim", "create listing", "create time of the listing", "publish scan", "publish difference", "create rows of a version",
    "create writes of a version", "create plan of a version", "publish upserts", "create commit of a version", "publish deletes", "create keys",
    "create version table", "create version root", "publish quarantine file", "create lease release",
)  # fmt: skip


def test_a_sync_that_is_killed_equals_an_undisturbed_one(commands: Commands, tmp_path: Path, rng: random.Random) -> None:
    scenario = SyncScenario("sync", commands, tmp_path, str(tmp_path), put_file)
    kinds = {point.kind for point in scenario.points}
    assert {f"{phase} {what}" for what in SYNCED for phase in ("before", "after")} <= kinds, "each has its name still"
    for point in choose(scenario.points, 3, rng):
        assert scenario.round(point) == [], point


@pytest.mark.parametrize("name", ["compact", "rollback", "erase"])
def test_a_version_that_is_made_from_rows_and_killed(name: str, commands: Commands, tmp_path: Path, rng: random.Random) -> None:
    scenario = RemakeScenario(name, commands, tmp_path, str(tmp_path), put_file)
    made = {"rollback": "upserts"}.get(name, "base")
    kinds = {point.kind for point in scenario.points}
    assert {f"{phase} {what}" for what in (f"publish {made}", "create keys", "create version root", "create claim") for phase in ("before", "after")} <= kinds
    for point in choose(scenario.points, 1, rng):
        assert scenario.round(point) == [], point


def test_a_sync_that_finds_no_row_changed_and_is_killed(commands: Commands, tmp_path: Path, rng: random.Random) -> None:
    scenario = CLASSES["touched"]("touched", commands, tmp_path, str(tmp_path), put_file)
    decided = [point for point in scenario.points if point.kind in ("before create version root", "after create version root")]
    assert len(decided) == 2
    for point in [*decided, *choose(scenario.points, 2, rng)]:
        assert scenario.round(point) == [], point


@pytest.mark.parametrize("name", ["upgrade", "changed"])
def test_a_sync_of_an_older_dataset_and_one_whose_corpus_changes_meanwhile(name: str, commands: Commands, tmp_path: Path, rng: random.Random) -> None:
    scenario = CLASSES[name](name, commands, tmp_path, str(tmp_path), put_file)
    if name == "upgrade":
        assert {"before restore format", "after restore format"} <= {point.kind for point in scenario.points}
    for point in choose(scenario.points, 1, rng):
        assert scenario.round(point) == [], point


def test_a_redrive_that_dies_before_the_dataset_card(commands: Commands, tmp_path: Path) -> None:
    """Its manifest was published, so it was refused as finished, and the card never came."""
    scenario = Scenario("redrive", commands, tmp_path, str(tmp_path), put_file)
    (point,) = [point for point in scenario.points if point.name == "before replace dataset card 1"]
    assert scenario.round(point) == []


def test_a_put_that_arrives_after_its_process_was_killed(tmp_path: Path, rng: random.Random) -> None:
    with storage("s3", tmp_path) as (where, put, proxy), serve_commands(tmp_path) as commands:
        scenario = Scenario("run", commands, tmp_path, where, put, proxy)
        late = [point for point in scenario.points if point.name.startswith("late create")]
        assert {point.kind.removeprefix("late ") for point in late} >= {"create plan root", "create commit", "create manifest root"}
        for point in choose(late, 1, rng):
            assert scenario.round(point, late_s=rng.uniform(0.3, 1.0)) == [], point
