"""After an erasure no byte of the dataset holds the ids, texts or vectors: looked for in every file as it lies and in every decoded column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import embermill
from embermill.jobs.errors import UsageError
from embermill.jobs.storage import open_folder
from embermill.jobs.versions import erase as erasing
from tests.bench import erase_scale
from tests.jobs.command_line import Answer
from tests.jobs.crashes.decoded import holders
from tests.jobs.histories.world import Killed, World
from tests.jobs.versions.test_engines import rows_in, save

Command = Callable[..., Answer]
GONE = ("p0-0", "p2-3", "new-0", "new-1")  # the first and the last id of shards, an inserted one, one that may be in no row


@pytest.fixture
def world() -> World:
    """Three syncs that also wrote every id that is to go, an abandoned version and its zombie, and a rollback that was undone."""
    world = World(5)
    for _ in range(3):
        world.sync()
    world.compact()
    world.abandon()
    while not {*GONE[:3]} <= world.rows.keys():
        world.sync()
    return world


def test_no_byte_and_no_column_holds_what_was_erased(world: World, tmp_path: Path, command: Command) -> None:
    dataset = save(world, tmp_path / "ds")
    assert len(holders(open_folder(str(dataset)), GONE)) > 10
    (tmp_path / "ids").write_text("\n".join(GONE))
    answer = command("erase", str(dataset), "--ids", str(tmp_path / "ids"))
    assert answer.code == 0, answer.errors
    assert answer["rows"] == len(world.rows.keys() & {*GONE}) >= 3
    assert holders(open_folder(str(dataset)), GONE) == []
    rows = {each: value for each, value in world.rows.items() if each not in GONE}
    assert rows_in(embermill.open_dataset(str(dataset)).read_all()) == rows
    for arguments in (["verify"], ["status"], ["history"], ["repair"], ["files"]):
        again = command(*arguments, str(dataset))
        assert again.code == 0, again.errors
    assert rows_in(embermill.open_dataset(str(dataset)).read_all()) == rows
    with pytest.raises(UsageError, match=r"rows were erased in version \d+, after the cursor 2.*load version \d+ again"):
        embermill.open_dataset(str(dataset), since=2)
    anew = embermill.open_dataset(str(dataset), since=0).read_all()
    assert anew.column("change").to_pylist().count("upsert") == len(rows) and not {*anew.column("id").to_pylist()} & {*GONE}
    assert command("rollback", str(dataset), "--to", "1").code == 2


@pytest.mark.long
def test_of_a_life_with_refused_rows_kept_texts_and_an_abandoned_version_nothing_is_left(tmp_path: Path) -> None:
    """1,000 of 100,000: tests/bench/erase_scale.py"""
    told = erase_scale.prove(tmp_path, 400, 20)
    assert (told["left"], told["wrong"]) == ([], []), told
    assert told["files_before"] > 50 and told["of"] == ["_embermill", "bases", "changes", "data", "quarantine"]
    assert {state for _, state, _ in told["versions"]} == {"committed", "abandoned"}


@pytest.mark.parametrize("puts", [1, 2, 4, 6, 8, 10, 13])
def test_killed_anywhere_it_is_completed_by_the_same_command(world: World, tmp_path: Path, puts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = save(world, tmp_path / "ds")
    (tmp_path / "ids").write_text("\n".join(GONE))
    folder = open_folder(str(dataset))
    left = [puts]

    def dying(call: Callable[..., None]) -> Callable[..., None]:
        def put(*arguments: object) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            call(*arguments)

        return put

    for name in ("create", "publish", "remove", "replace"):
        monkeypatch.setattr(folder, name, dying(getattr(folder, name)), raising=False)
    monkeypatch.setattr(erasing, "open_folder", lambda uri: folder)
    with pytest.raises(Killed):
        erasing.erase(str(dataset), str(tmp_path / "ids"))
    monkeypatch.undo()
    erasing.erase(str(dataset), str(tmp_path / "ids"))
    assert holders(open_folder(str(dataset)), GONE) == []
    assert rows_in(embermill.open_dataset(str(dataset)).read_all()) == {each: value for each, value in world.rows.items() if each not in GONE}


@pytest.mark.parametrize("suffix", ["parquet", "csv", "txt"])
def test_ids_come_in_three_kinds_of_files(world: World, tmp_path: Path, command: Command, suffix: str) -> None:
    dataset, file = save(world, tmp_path / "ds"), tmp_path / f"ids.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.table({"id": [*GONE]}), file)
    else:
        file.write_text("\n".join([*(["id"] if suffix == "csv" else []), *GONE]) + "\n")
    assert command("erase", str(dataset), "--ids", str(file))["rows"] >= 3


def test_ids_that_cannot_be_read(world: World, tmp_path: Path, command: Command) -> None:
    dataset = save(world, tmp_path / "ds")
    pq.write_table(pa.table({"other": ["a"]}), tmp_path / "ids.parquet")
    for name in ("ids.parquet", "missing"):
        answer = command("erase", str(dataset), "--ids", str(tmp_path / name))
        assert answer.code == 2 and "expected one id a line, or Parquet or CSV with a column 'id'" in answer.errors
