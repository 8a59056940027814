"""After an erasure no byte of the dataset holds the ids, texts or vectors: looked for in every file as it lies and in every decoded column."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import embermill
from embermill.jobs.bookkeeping.seal import sealed_json
from embermill.jobs.commands.answers import show_plan, show_status, show_verify
from embermill.jobs.commands.answers_run import show_run
from embermill.jobs.commands.versions import show_erase
from embermill.jobs.dataset.metadata.manifest import read_manifest_root
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
    with pytest.raises(UsageError, match=r"since version 2 cannot be told, because rows were erased in version \d+ .*read the dataset from the beginning"):
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


def files_of(dataset: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file() and "lease" not in path.parts}


def erase(dataset: Path, tmp_path: Path, command: Command, *ids: str) -> Answer:
    (tmp_path / "ids").write_text("".join(f"{each}\n" for each in ids))
    answer = command("erase", str(dataset), "--ids", str(tmp_path / "ids"))
    assert answer.code == 0, answer.errors
    return answer


@pytest.mark.parametrize("ids", [("nobody", "p0-", "p0-00"), ()])
def test_ids_that_no_file_names_make_no_version(world: World, tmp_path: Path, command: Command, ids: tuple[str, ...]) -> None:
    dataset = save(world, tmp_path / "ds")
    before = files_of(dataset)
    answer = erase(dataset, tmp_path, command, *ids)
    assert (answer["version"], answer["rows"], answer["removed"]) == (None, 0, [])
    assert (answer["ids"], answer["ids_unknown"], sorted(answer["unknown"])) == (len(ids), len(ids), sorted(ids))
    assert files_of(dataset) == before and embermill.open_dataset(str(dataset), since=1).read_all().num_rows > 0
    words = show_erase(json.loads(answer.stdout))
    assert "nothing was erased, and no new version was made" in words and ("none of the 3 ids is in any file" in words and "nobody" in words) == bool(ids)


def test_what_killed_runs_left_unfinished_is_removed_unseen(world: World, tmp_path: Path, command: Command) -> None:
    dataset = save(world, tmp_path / "ds")
    (dataset / "_embermill/tmp").mkdir(exist_ok=True)
    (dataset / "_embermill/tmp/part-1.parquet.host.1.ab").write_bytes(b"PAR1 nobody, and then the process was killed")
    answer = erase(dataset, tmp_path, command, "nobody")
    assert (answer["version"], answer["removed"]) == (None, ["_embermill/tmp/part-1.parquet.host.1.ab"])
    assert holders(open_folder(str(dataset)), ["nobody"]) == []


def test_unknown_ids_among_known_ones_are_named(world: World, tmp_path: Path, command: Command) -> None:
    dataset = save(world, tmp_path / "ds")
    answer = erase(dataset, tmp_path, command, "p0-0", "nobody", "nobody", "")
    assert (answer["rows"], answer["ids"], answer["ids_unknown"], answer["unknown"]) == (1, 2, 1, ["nobody"])
    assert "1 of the 2 ids is in no file of the dataset, in any version: nobody" in show_erase(json.loads(answer.stdout))
    again = erase(dataset, tmp_path, command, "p0-0", "nobody")
    assert (again["version"], again["ids_unknown"], again["unknown"]) == (answer["version"], 1, None), "as it was told the first time"


def test_an_id_that_is_live_no_more_is_known_while_a_file_names_it(world: World, tmp_path: Path, command: Command) -> None:
    """In the base and the lists of deletes of earlier versions, or in the quarantine alone."""
    dead = sorted({*world.snapshots[1]} - world.rows.keys() - world.erased)[0]
    dataset = save(world, tmp_path / "ds")
    assert holders(open_folder(str(dataset)), [dead]) != []
    answer = erase(dataset, tmp_path, command, dead)
    assert (answer["rows"], answer["ids_unknown"]) == (0, 0) and answer["version"] is not None
    assert holders(open_folder(str(dataset)), [dead]) == []
    again = erase(dataset, tmp_path, command, dead, "nobody")
    assert (again["version"], again["ids_unknown"]) == (None, 2)


def test_an_id_of_a_refused_row_is_known(tmp_path: Path, command: Command, embed: Callable[..., Answer]) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.jsonl").write_text('{"id": "good", "text": "a"}\n{"id": "refused-one", "text": null}\n')
    output = embed(corpus={"files": [str(tmp_path / "corpus")]}).output
    answer = erase(output, tmp_path, command, "refused-one")
    assert (answer["rows"], answer["ids_unknown"]) == (0, 0)
    assert holders(open_folder(str(output)), ["refused-one"]) == []


def test_the_date_of_the_first_version_stays(world: World, tmp_path: Path, command: Command) -> None:
    dataset = save(world, tmp_path / "ds")
    root = read_manifest_root(open_folder(str(dataset)))
    assert root is not None
    manifest = dataset / "_embermill/manifests/000001.json"
    manifest.write_bytes(sealed_json(root | {"created": "2020-02-02T02:02:02+00:00"}))
    first = command("history", str(dataset))["versions"][0]
    assert erase(dataset, tmp_path, command, "p0-0")["rows"] == 1
    after = command("history", str(dataset))["versions"][0]
    assert first["created"] == "2020-02-02T02:02:02+00:00" and after == first | {"state": "collected"}


def test_plan_run_status_and_verify_tell_what_is_left(tmp_path: Path, command: Command, embed: Callable[..., Answer]) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.jsonl").write_text("".join(json.dumps({"id": f"doc-{n}", "text": f"text {n}"}) + "\n" for n in range(5)))
    output = embed(corpus={"files": [str(tmp_path / "corpus")]}).output
    erase(output, tmp_path, command, "doc-1", "doc-2")
    told = {name: command(name, str(output if name in ("status", "verify") else f"{output}.yaml")) for name in ("plan", "run", "status", "verify")}
    assert [answer.code for answer in told.values()] == [0] * 4, [answer.errors for answer in told.values()]
    show = {"plan": show_plan, "run": show_run, "status": show_status, "verify": show_verify}
    words = {name: show[name](json.loads(answer.stdout)) for name, answer in told.items()}
    assert "3 rows in version 2" in words["plan"]
    assert words["run"].startswith(f"{output} is at version 2, made by erase on ") and ": 3 rows\n" in words["run"] and "is complete" not in words["run"]
    assert "`embermill sync CONFIG` embeds what has changed" in words["run"] and "first run" in words["run"]
    assert "version     2 by erase" in words["status"] and "3 rows" in words["status"] and "\n  rows " not in words["status"]
    assert "every file of version 2, which has 3 rows" in words["verify"]


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
        assert "Errno" not in answer.errors and ("there is no such file" in answer.errors) == (name == "missing")


class TestDocuments:
    """Of files that are a document each, the id is the path."""

    @pytest.fixture
    def output(self, tmp_path: Path, embed: Callable[..., Answer]) -> Path:
        for number in range(4):
            self.write(tmp_path, number, "one")
        output = self.sync(tmp_path, embed, "run").output
        for text in ("two", "three"):
            self.write(tmp_path, 0, text)
            self.sync(tmp_path, embed)
        return output

    def write(self, tmp_path: Path, number: int, text: str) -> None:
        (tmp_path / "kb").mkdir(exist_ok=True)
        (tmp_path / f"kb/document-{number}.md").write_text(f"{text} {number}\n")

    def sync(self, tmp_path: Path, embed: Callable[..., Answer], name: str = "sync", **more: Any) -> Answer:
        answer = embed(name=name, corpus={"files": [str(tmp_path / "kb")], "complete": True, "max_deleted_share": 1}, **more)
        assert answer.code == 0, answer.errors
        return answer

    def test_what_still_names_a_path_is_told(self, output: Path, tmp_path: Path, command: Command, embed: Callable[..., Answer]) -> None:
        gone, folder = "document-3.md", open_folder(str(output))
        (tmp_path / "kb" / gone).unlink()
        self.sync(tmp_path, embed)
        answer = erase(output, tmp_path, command, gone)
        assert answer["paths"] == [gone] and answer["paths_in"] == sorted({*holders(folder, [gone])}), "told in full"
        assert len([name for name in answer["paths_in"] if "inputs-" in name]) <= 2, "the plan's"
        words = show_erase(json.loads(answer.stdout))
        assert f"still there as the path of a corpus file: {gone}" in words and f"--reuse {output}`" in words
        for arguments in (["verify"], ["repair"], ["status"], ["verify"]):
            assert command(*arguments, str(output)).code == 0
        again = erase(output, tmp_path, command, gone)
        assert again["again"] and again["version"] == answer["version"] and again["paths"] == [gone]
        assert self.sync(tmp_path, embed)["action"] == "nothing"
        other = erase(output, tmp_path, command, "nobody", gone)
        assert other["version"] is None and "none of the 2 ids is in any row of the dataset" in show_erase(json.loads(other.stdout))

    def test_a_dataset_made_anew_does_not_name_it(self, output: Path, tmp_path: Path, command: Command, embed: Callable[..., Answer]) -> None:
        """As the answer advises."""
        gone = "document-3.md"
        erase(output, tmp_path, command, gone)
        (tmp_path / "kb" / gone).unlink()
        assert embed(name="plan", output="anew", corpus={"files": [str(tmp_path / "kb")], "complete": True}).code == 0
        anew = command("sync", str(tmp_path / "anew.yaml"), "--reuse", str(output))
        assert anew.code == 0 and anew["texts_embedded"] == 0, anew.errors
        assert holders(open_folder(str(tmp_path / "anew")), [gone]) == []

    def test_a_dataset_of_no_row_is_not_to_be_compacted(self, output: Path, tmp_path: Path, command: Command) -> None:
        assert erase(output, tmp_path, command, *(f"document-{number}.md" for number in range(4)))["rows"] == 4
        assert command("status", str(output))["compact_advised"] is False
        assert command("compact", str(output))["version"] is None


def test_the_same_list_again_says_so(world: World, tmp_path: Path, command: Command) -> None:
    dataset = save(world, tmp_path / "ds")
    first, again = (erase(dataset, tmp_path, command, "p0-0") for _ in range(2))
    assert (first["again"], again["again"], again["removed"]) == (False, True, []) and again["version"] == first["version"]
    assert f"version {first['version']} erased these ids before, 1 row: no new version was made" in show_erase(json.loads(again.stdout))
    one = show_erase(json.loads(first.stdout) | {"removed": ["a"]})
    assert "1 file that could have held them is removed" in one
