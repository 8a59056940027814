"""The commands about versions, on a dataset with a history, in JSON and in words."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import embermill
from embermill.jobs import cli
from embermill.jobs.dataset.metadata.card import CARD
from embermill.jobs.errors import UsageError
from tests.jobs.command_line import Answer
from tests.jobs.golden_datasets import OldDataset
from tests.jobs.histories.world import World
from tests.jobs.versions.test_engines import read_duckdb, rows_in, save

Command = Callable[..., Answer]


@pytest.fixture
def world() -> World:
    """Versions 2 and 3 of syncs, 4 abandoned."""
    world = World(4)
    while len(world.snapshots) < 3:
        world.sync()
    world.abandon()
    return world


@pytest.fixture
def dataset(world: World, tmp_path: Path) -> Path:
    return save(world, tmp_path / "ds")


def words(*arguments: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert cli.main([*arguments]) == 0
    return out.getvalue()


def test_history(world: World, dataset: Path, command: Command) -> None:
    entries = command("history", str(dataset))["versions"]
    assert [(entry["version"], entry["state"], entry["cause"]) for entry in entries] == [
        (1, "readable", "run"), (2, "readable", "sync"), (3, "readable", "sync"), (4, "abandoned", "the corpus changed")
    ]  # fmt: skip
    assert [entry["totals"].get("rows") for entry in entries] == [len(world.snapshots[number]) for number in (1, 2, 3)] + [None]
    assert words("history", str(dataset)).count("\n") == 4


@pytest.mark.parametrize("number", [None, 1, 2])
def test_files(world: World, dataset: Path, command: Command, number: int | None) -> None:
    version = [] if number is None else ["--version", str(number)]
    answer = command("files", str(dataset), *version)
    assert answer["rows"] == len(world.snapshots[number or 3]) and all((dataset / file["name"]).stat().st_size == file["bytes"] for file in answer["files"])
    assert rows_in(read_duckdb(words("files", str(dataset), *version, "--sql", "duckdb"))) == world.snapshots[number or 3]
    assert f"version {number or 3}: " in words("files", str(dataset), *version)


@pytest.mark.parametrize(("number", "message"), [("4", "version 4 was abandoned"), ("9", "there is no version 9: expected one from 1 to 4")])
def test_versions_that_are_none(dataset: Path, command: Command, number: str, message: str) -> None:
    for arguments in (["files", str(dataset), "--version", number], ["rollback", str(dataset), "--to", number]):
        answer = command(*arguments)
        assert answer.code == 2 and message in answer.errors and "`embermill history` lists" in answer.errors


def test_changes_are_files_or_their_net_effect(world: World, dataset: Path, command: Command, tmp_path: Path) -> None:
    answer = command("changes", str(dataset), "--since", "1")
    assert {file["name"].partition("/")[0] for file in answer["files"]} == {"changes"} and not any(file["needs_filter"] for file in answer["files"])
    net = command("changes", str(dataset), "--since", "1", "--net", "--out", str(tmp_path / "net"))
    copy = dict(world.snapshots[1])
    for path in sorted((tmp_path / "net").glob("upserts/*")):
        copy |= rows_in(pq.read_table(path))
    for path in (tmp_path / "net").glob("deletes/*"):
        copy = {each: value for each, value in copy.items() if each not in pq.read_table(path).column("id").to_pylist()}
    assert copy == world.rows and net["upserts"] + net["deletes"] > 0
    assert command("changes", str(dataset), "--since", "1", "--out", str(tmp_path / "copied")).code == 0
    assert all((tmp_path / "copied" / file["name"]).read_bytes() == (dataset / file["name"]).read_bytes() for file in answer["files"])
    again = command("changes", str(dataset), "--since", "1", "--net", "--out", str(tmp_path / "net"))
    assert again.code == 2 and "expected a new or an empty folder" in again.errors
    anew = command("changes", str(dataset), "--since", "0", "--net")
    assert (anew["upserts"], anew["deletes"]) == (len(world.rows), 0), "version 0 has no row that could go"
    assert embermill.open_dataset(str(dataset), since=0).read_all().num_rows == len(world.rows)
    assert command("changes", str(dataset), "--since", "3")["files"] == [] and command("changes", str(dataset), "--since", "99").code == 2


def test_rollback_compact_and_gc(world: World, dataset: Path, command: Command, tmp_path: Path) -> None:
    assert command("compact", str(dataset))["version"] == 5
    assert rows_in(embermill.open_dataset(str(dataset)).read_all()) == world.rows
    assert pq.read_table(sorted((dataset / "bases/000005").glob("*.parquet"))).num_rows == len(world.rows)
    assert command("compact", str(dataset))["version"] is None and "nothing to compact" in words("compact", str(dataset))
    rolled = command("rollback", str(dataset), "--to", "1")
    assert rolled["version"] == 6 and rows_in(embermill.open_dataset(str(dataset)).read_all()) == world.snapshots[1]
    assert "path: bases/000005/*.parquet" in (dataset / CARD).read_text() and "this is version 6" in (dataset / CARD).read_text()
    feed = embermill.open_dataset(str(dataset), since=3).read_all()
    copy = dict(world.rows)
    for row in feed.to_pylist():
        copy.pop(row["id"], None)
        copy |= {row["id"]: row["num_tokens"]} if row["change"] == "upsert" else {}
    assert copy == world.snapshots[1]
    for path in dataset.rglob("*"):
        os.utime(path, (1, 1))
    collected = command("gc", str(dataset), "--keep-versions", "1")
    assert collected["retired"] == [1, 2, 3, 5] and not [*(dataset / "data").iterdir()] and not [*dataset.glob("changes/000004/*/*")]
    assert rows_in(embermill.open_dataset(str(dataset)).read_all()) == world.snapshots[1]
    assert embermill.open_dataset(str(dataset), since=3).read_all().num_rows == feed.num_rows, "cursors stay good"
    with pytest.raises(UsageError, match="the files of version 2 were collected"):
        embermill.open_dataset(str(dataset), version=2)
    for arguments in (["verify"], ["status"], ["history"]):
        answer = command(*arguments, str(dataset))
        assert answer.code == 0, answer.errors


def test_nothing_to_do_leaves_an_old_dataset_as_it_is(old_dataset: Callable[[str], OldDataset], command: Command) -> None:
    old = old_dataset("articles-finished")
    before = {path: path.read_bytes() for path in old.folder.rglob("*") if path.is_file() and "lease" not in path.parts}
    assert command("compact", str(old.folder))["version"] is None and command("rollback", str(old.folder), "--to", "1")["version"] is None
    assert command("history", str(old.folder))["versions"][0]["cause"] == "run"
    assert {path: path.read_bytes() for path in old.folder.rglob("*") if path.is_file() and "lease" not in path.parts} == before


def test_an_erasure_upgrades_an_old_dataset(old_dataset: Callable[[str], OldDataset], command: Command, tmp_path: Path) -> None:
    old = old_dataset("articles-finished")
    rows = embermill.open_dataset(str(old.folder)).read_all()
    (tmp_path / "ids").write_text(f"{rows.column(0)[0].as_py()}\n")
    assert command("erase", str(old.folder), "--ids", str(tmp_path / "ids"))["rows"] == 1
    assert json.loads((old.folder / "_embermill/format.json").read_text())["format_version"] == "2 (embermill 0.2.0 or newer)"
    found = embermill.open_dataset(str(old.folder)).read_all()
    assert found.drop_columns(["version"]).equals(rows.slice(1).drop_columns(["version"])) and command("verify", str(old.folder)).code == 0
