"""A dataset damaged on purpose: every command that meets it names the file, what is wrong with it and what helps; and what it says does help."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from embermill.jobs.bookkeeping.seal import sealed_json
from embermill.jobs.dataset.views.compare import differences
from embermill.jobs.storage import open_folder
from tests.jobs import command_line
from tests.jobs.command_line import Answer

Run = Callable[..., Answer]
Edit = Callable[[Path], Any]
OURS = "_embermill"
FORMAT = f"{OURS}/format.json"
ROOT, SEGMENTS, INPUTS = (f"{OURS}/plan/000001/{name}" for name in ("root.json", "segments-*.pq", "inputs-*.pq"))
MANIFEST, ROWS, COMMIT = f"{OURS}/manifests/000001.json", f"{OURS}/manifests/000001.pq", f"{OURS}/commits/000000001.pq"
READERS = ("status", "search", "verify")


def make_corpus(folder: Path) -> Path:
    """Three files of five rows, one of which has no id."""
    folder.mkdir()
    for name in "abc":
        ids = pa.array([f"{name}{row}" if name + str(row) != "b1" else None for row in range(5)], pa.string())
        pq.write_table(pa.table({"id": ids, "text": [f"text {row} of {name}" for row in range(5)]}), folder / f"{name}.parquet")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus and its whole dataset of three partitions, one row refused. Nothing changes them."""
    folder = tmp_path_factory.mktemp("made")
    corpus = make_corpus(folder / "corpus")
    with mock.patch("embermill.jobs.run.open_pool", command_line.open_inline_pool):
        assert command_line.run(folder, output="whole", corpus={"files": [f"{corpus}/*.parquet"], "partition_text_bytes": 60}).code == 0
    return folder


@pytest.fixture
def corpus(made: Path) -> Path:
    return made / "corpus"


@pytest.fixture
def run(embed: Run, corpus: Path) -> Run:
    """run(output="out") makes, or resumes, a dataset of the corpus; name="plan" plans it."""
    settings = {"files": [f"{corpus}/*.parquet"], "partition_text_bytes": 60}
    return lambda output="out", name="run", **sections: embed(output=output, name=name, **({"corpus": settings} | sections))


@pytest.fixture
def whole(made: Path) -> Path:
    return made / "whole"


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    """A copy of the whole dataset, to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "out"))


@pytest.fixture
def ask(run: Run, command: Callable[..., Answer], tmp_path: Path) -> Callable[[str], Answer]:
    """ask("status"): a command of the dataset."""

    def ask(name: str) -> Answer:
        if name in ("run", "plan"):
            return run(name=name)
        return command(name, str(tmp_path / "out"), *(["text"] if name == "search" else []))

    return ask


def lose(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def junk(path: Path) -> None:
    path.write_bytes(b"\xff\xfe not at all")


def a_list(path: Path) -> None:
    path.write_text("[1]")


def without(*keys: str) -> Edit:
    def edit(path: Path) -> None:
        path.write_bytes(sealed_json({key: value for key, value in json.loads(path.read_text()).items() if key not in keys}))

    edit.__name__ = f"without {keys}"
    return edit


def holding(key: str, value: object) -> Edit:
    def edit(path: Path) -> None:
        path.write_bytes(sealed_json(json.loads(path.read_text()) | {key: value}))

    edit.__name__ = f"{key}={value}"
    return edit


def rewritten(change: Callable[[pa.Table], pa.Table]) -> Edit:
    def edit(path: Path) -> None:
        pq.write_table(change(pq.read_table(path)), path)

    edit.__name__ = change.__name__
    return edit


def other(column: str, value: object) -> Edit:
    def change(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(column)
        values = [value, *table.column(column).to_pylist()[1:]]
        return table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))

    change.__name__ = f"{column}={value}"
    return rewritten(change)


def move_away(out: Path, *names: str) -> None:
    aside = out.parent / "aside"
    aside.mkdir(exist_ok=True)
    for name in names:
        shutil.move(out / name, aside / name.replace("/", "-"))


def replan(out: Path, run: Run) -> None:
    """remedies.PLAN"""
    move_away(out, f"{OURS}/plan", f"{OURS}/commits", f"{OURS}/manifests")
    answer = run()
    assert (answer.code, answer["rows_embedded"]) == (0, 0), "whole shards are adopted, not made again"


PLANS: list[tuple[str, Edit]] = [
    (ROOT, lose), (ROOT, junk), (ROOT, without("segments")), (ROOT, holding("rows", 5)), (SEGMENTS, cut), (INPUTS, flip),
    (ROOT, empty), (ROOT, cut), (ROOT, a_list), (ROOT, without("rows", "schema_arrow")), (ROOT, holding("schema_arrow", "AAAA")),
    (ROOT, holding("outputs", [{"kind": "dense"}])), (ROOT, holding("segments", {})),
    *((SEGMENTS, edit) for edit in (lose, empty, flip, junk)), *((INPUTS, edit) for edit in (lose, empty, cut, junk)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "edit"), PLANS)
def test_a_damaged_plan(out: Path, whole: Path, run: Run, ask: Callable[[str], Answer], name: str, edit: Edit) -> None:
    (path,) = out.glob(name)
    edit(path)
    for which in (*READERS, "run", "plan"):
        answer = ask(which)
        assert (answer.code, answer["error"]["kind"]) == (3, "MetadataDamaged"), (which, answer.errors)
        assert f"{path}: is " in answer.errors and f"move what is there of {OURS}/plan, " in answer.errors and "Traceback" not in answer.errors
    replan(out, run)
    assert [ask(which).code for which in (*READERS, "run", "plan")] == [0] * 5
    assert differences(open_folder(str(out)), open_folder(str(whole))) == []


@pytest.mark.parametrize("edit", [empty, junk, a_list])
def test_a_damaged_format(out: Path, ask: Callable[[str], Answer], edit: Edit) -> None:
    edit(out / FORMAT)
    for which in (*READERS, "run", "plan"):
        answer = ask(which)
        assert answer.code == 3 and f'{out}/{FORMAT}: is damaged' in answer.errors and "`embermill repair` writes it again" in answer.errors
    assert ask("repair").code == 0
    assert [ask(which).code for which in (*READERS, "run", "plan")] == [0] * 5


def test_a_lost_format(out: Path, ask: Callable[[str], Answer]) -> None:
    lose(out / FORMAT)
    answer = ask("verify")
    assert answer.code == 3 and f"{FORMAT}: is gone. `embermill repair` writes it again." in answer.errors and "embedded again" not in answer.errors
    assert ask("run").code == 0 and ask("verify").code == 0


MANIFEST_EDITS = [
    (MANIFEST, cut), (MANIFEST, without("totals")), (ROWS, lose), (ROWS, flip),
    *((MANIFEST, edit) for edit in (empty, junk, a_list, without("shards"), holding("shards", 7))), *((ROWS, edit) for edit in (empty, cut, junk)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "edit"), MANIFEST_EDITS)
def test_a_damaged_manifest(out: Path, whole: Path, ask: Callable[[str], Answer], name: str, edit: Edit) -> None:
    edit(out / name)
    for which in (*READERS, "run", "plan"):
        answer = ask(which)
        assert (answer.code, answer["error"]["kind"]) == (3, "MetadataDamaged"), (which, answer.errors)
        assert f"{out}/{name}: is " in answer.errors and f"move what is there of {MANIFEST} and {ROWS} away" in answer.errors
    move_away(out, MANIFEST, *([ROWS] if (out / ROWS).exists() else []))
    answer = ask("run")
    assert (answer.code, answer["rows_embedded"]) == (0, 0) and [ask(which).code for which in (*READERS, "plan")] == [0] * 4
    assert differences(open_folder(str(out)), open_folder(str(whole))) == []


def test_the_manifest_of_another_dataset(out: Path, run: Run, ask: Callable[[str], Answer], corpus: Path) -> None:
    stranger = run(output="stranger", corpus={"files": [str(corpus / "a.parquet")]}).output
    shutil.copytree(stranger / OURS / "manifests", out / OURS / "manifests", dirs_exist_ok=True)
    for which in (*READERS, "run", "plan"):
        answer = ask(which)
        assert answer.code == 3 and MANIFEST in answer.errors and "of another plan" in answer.errors, which
        assert f"move what is there of {MANIFEST} and" in answer.errors, which
    move_away(out, MANIFEST, ROWS)
    assert [ask(which).code for which in ("run", *READERS, "plan")] == [0] * 5


COMMIT_EDITS = [
    cut, rewritten(lambda table: table.drop_columns(["tokens"])), other("shard_sha256", "ab" * 32), other("rows_in", 7), empty, junk, other("tokens", 1),
    other("shard", "data/part-000000009-000-00000000.parquet"), other("partition", 99), other("provenance", [("worker", "another")]), other("first_id", "z"),
]  # fmt: skip


@pytest.mark.parametrize("edit", COMMIT_EDITS)
def test_a_damaged_or_edited_commit_of_a_finished_dataset(out: Path, whole: Path, ask: Callable[[str], Answer], edit: Edit) -> None:
    (commit, *_) = sorted((out / OURS / "commits").iterdir())
    edit(commit)
    assert [ask(which).code for which in ("status", "search")] == [0, 0], "the manifest has the last word"
    for which in ("verify", "run", "plan"):
        answer = ask(which)
        assert answer.code == 3 and COMMIT in answer.errors and "Move it away and run the same job again" in answer.errors, (which, answer.errors)
        assert "embedded again" not in answer.errors
    move_away(out, COMMIT)
    assert "lack " in ask("verify").errors and "rewritten from the manifest" in ask("verify").errors
    answer = ask("run")
    assert (answer.code, answer["rows_embedded"]) == (0, 0) and ask("verify").code == 0
    assert [path.name for path in sorted((out / OURS / "manifests").iterdir())] == ["000001.json", "000001.pq"]
    assert differences(open_folder(str(out)), open_folder(str(whole))) == []


@pytest.mark.parametrize("edit", [cut, other("rows_in", 7), other("partition", 99), empty, junk, other("partition_id", "00" * 8)])
def test_a_damaged_commit_of_an_unfinished_dataset(out: Path, whole: Path, ask: Callable[[str], Answer], edit: Edit) -> None:
    move_away(out, f"{OURS}/manifests")
    (commit, *_) = sorted((out / OURS / "commits").iterdir())
    edit(commit)
    for which in (*READERS, "run", "plan"):
        answer = ask(which)
        assert answer.code == 3 and "Traceback" not in answer.errors, (which, answer.errors)
        assert which == "verify" or (COMMIT in answer.errors and "Move it away and run the same job again" in answer.errors), (which, answer.errors)
    move_away(out, COMMIT)
    assert ask("run").code == 0 and [ask(which).code for which in (*READERS, "plan")] == [0] * 4
    assert differences(open_folder(str(out)), open_folder(str(whole))) == []


@pytest.mark.parametrize("finished", [True, False])
def test_two_commits_that_contradict_each_other(out: Path, whole: Path, ask: Callable[[str], Answer], finished: bool) -> None:
    if not finished:
        move_away(out, f"{OURS}/manifests")
    second = COMMIT.replace("1.pq", "9.pq")
    shutil.copy(out / COMMIT, out / second)
    other("shard_sha256", "ab" * 32)(out / second)
    for which in ("verify", "run", "plan", *([] if finished else ["status", "search"])):
        answer = ask(which)
        assert answer.code == 3 and COMMIT in answer.errors and second in answer.errors and "Move both away" in answer.errors, (which, answer.errors)
    move_away(out, COMMIT, second)
    assert [ask(which).code for which in ("run", *READERS, "plan")] == [0] * 5
    assert differences(open_folder(str(out)), open_folder(str(whole))) == []


@pytest.mark.parametrize("edit", [lose, flip, empty, cut, junk])
@pytest.mark.parametrize("folder", ["data", "quarantine"])
def test_a_damaged_shard(out: Path, whole: Path, ask: Callable[[str], Answer], folder: str, edit: Edit) -> None:
    (path, *_) = sorted((out / folder).iterdir())
    edit(path)
    answer = ask("verify")
    assert answer.code == 3 and f"{folder}/{path.name}: " in answer.errors and "the others are embedded again" in answer.errors
    move_away(out, *([f"{folder}/{path.name}"] if path.exists() else []), f"{OURS}/commits", f"{OURS}/manifests")
    answer = ask("run")
    assert answer.code == 0 and 0 < answer["rows_embedded"] <= 5, answer.errors
    assert ask("verify").code == 0 and differences(open_folder(str(out)), open_folder(str(whole))) == []


def test_a_plan_made_again_with_other_settings_takes_no_shard_for_its_own(out: Path, run: Run) -> None:
    move_away(out, f"{OURS}/plan", f"{OURS}/commits", f"{OURS}/manifests")
    answer = run(model={"engine": "python:tests.jobs.engines:PlainEngine"})
    assert answer.code == 3 and "it was made with other settings" in answer.errors


class TestAnotherCorpus:
    """Whose rows changed after the dataset was made."""

    @pytest.fixture
    def corpus(self, tmp_path: Path) -> Path:
        return make_corpus(tmp_path / "corpus")

    @pytest.fixture
    def out(self, run: Run) -> Path:
        return run().output

    def test_a_commit_of_another_dataset_of_equal_count(self, out: Path, run: Run, ask: Callable[[str], Answer], corpus: Path) -> None:
        for name in "abc":
            table = pq.read_table(corpus / f"{name}.parquet")
            pq.write_table(table.set_column(1, "text", pc.binary_join_element_wise("another", table.column("text"), " ")), corpus / f"{name}.parquet")
        stranger = run(output="stranger").output
        shutil.rmtree(out / OURS / "commits")
        shutil.copytree(stranger / OURS / "commits", out / OURS / "commits")
        answer = ask("verify")
        assert answer.code == 3 and f"{COMMIT}: says of partition 0 shard 0 " in answer.errors
        assert "partition_id" in answer.errors and "shard_sha256" in answer.errors

    def test_a_plan_made_again_for_another_corpus_takes_no_shard_for_its_own(
        self, out: Path, run: Run, ask: Callable[[str], Answer], command: Run, corpus: Path
    ) -> None:
        """What belongs to neither stays until somebody says so: by `repair`, as the message advises."""
        pq.write_table(pa.table({"id": ["new"], "text": ["another corpus"]}), corpus / "a.parquet")
        move_away(out, f"{OURS}/plan", f"{OURS}/commits", f"{OURS}/manifests")
        for which in ("run", "run", "plan", "verify"):
            answer = ask(which)
            assert answer.code == 3 and "to no partition of this plan" in answer.errors , (which, answer.errors)
            assert f"run `embermill repair {out}`" in answer.errors, which
        repaired = command("repair", str(out))
        assert repaired.code == 0 and repaired["set_aside"], repaired.errors
        assert [ask(which).code for which in ("run", *READERS, "plan")] == [0] * 5
        assert differences(open_folder(str(out)), open_folder(str(run(output="whole").output))) == []
