"""`embermill gc`: leftovers of killed runs go once they are a day old, and nothing else does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.lease import hold_lease
from embermill.jobs.dataset.metadata.liveness import this_process
from embermill.jobs.errors import AnotherRun
from embermill.jobs.maintenance.garbage import collect, list_scratch
from embermill.jobs.plan.files import write_plan
from embermill.jobs.storage import LocalFolder, open_folder  # type: ignore[attr-defined]
from tests.jobs.command_line import Answer
from tests.jobs.sample_dataset import make_plan, write_shard

Embed = Callable[..., Answer]
Command = Callable[..., Answer]
DAY_S = 24 * 3600
LEFT = (
    "_embermill/tmp/part-000000000-000-00000000.parquet.host.1.abc", "_embermill/set_aside/part.data.0123",
    "_embermill/manifests/000000.pq", "_embermill/plan/000001/segments-" + "0" * 32 + ".pq", "data/part-000000099-000-01234567.parquet",
    "quarantine/part-000000099-000-01234567.pq",
)  # fmt: skip


def write(path: Path, age_s: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"left")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def age(output: Path) -> None:
    """All that is there is old."""
    for path in output.rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 3 * DAY_S,) * 2)


@pytest.fixture
def dataset(embed: Embed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    pq.write_table(pa.table({"id": ["a", None], "text": ["x", "y"]}), tmp_path / "corpus/a.parquet")
    answer = embed()
    assert answer.code == 0, answer.errors
    return answer.output


def names(output: Path) -> set[str]:
    return {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file() and "/lease/" not in path.as_posix()}


def test_only_what_is_a_day_old_goes(dataset: Path, command: Command) -> None:
    age(dataset)
    before = names(dataset)
    for name in LEFT:
        write(dataset / name, DAY_S - 60)
    write(dataset / "data/somebody-elses.txt", 9 * DAY_S)
    answer = command("gc", str(dataset))
    assert (answer.code, answer["removed"]) == (0, []), answer.errors
    for name in LEFT:
        write(dataset / name, DAY_S + 60)
    answer = command("gc", str(dataset))
    assert sorted(name for name in answer["removed"] if not name.startswith("_embermill/lease/")) == sorted(LEFT)
    assert names(dataset) == before | {"data/somebody-elses.txt"}
    assert command("verify", str(dataset)).code == 0


def test_of_an_unfinished_dataset_what_a_run_would_take_up_stays(dataset: Path, command: Command, embed: Embed) -> None:
    for folder in ("manifests", "commits"):
        for path in (dataset / "_embermill" / folder).iterdir():
            path.unlink()
    age(dataset)
    left = write(dataset / LEFT[0], 2 * DAY_S)
    answer = command("gc", str(dataset))
    assert answer["removed"] == [LEFT[0]] and not left.exists(), answer.errors
    again = embed()
    assert (again.code, again["rows_embedded"], again["committed_before"]) == (0, 0, 1), again.errors


def test_what_a_run_may_still_come_to_name_stays(dataset: Path, command: Command) -> None:
    """It makes the same table again, finds it there, is stopped for an hour, and then publishes the root that names it."""
    age(dataset)
    names_to_come = ("_embermill/manifests/000007.pq", "_embermill/plan/000002/segments-" + "0" * 32 + ".pq")
    for name in names_to_come:
        write(dataset / name, 2 * DAY_S)
    assert command("gc", str(dataset))["removed"] == [] and all((dataset / name).exists() for name in names_to_come)


def test_a_redrive_that_was_stopped_before_its_root(embed: Embed, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`gc` runs between the tables and the root that names them, two days later."""
    (tmp_path / "corpus").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    lines = [json.dumps({"id": str(row), "text": f"text {row}"}) for row in range(9)]
    corpus = tmp_path / "corpus/a.jsonl"
    corpus.write_text("\n".join([*lines, "{"]))
    output = embed(corpus={"files": [str(corpus)], "max_quarantined": 0}).output
    corpus.write_text("\n".join([*lines, lines[0].replace("0", "9")]))
    create = LocalFolder.create

    def pausing(folder: LocalFolder, name: str, data: bytes) -> None:
        if name == "_embermill/plan/000002/root.json":
            age(output)
            elsewhere = json.loads((output / "_embermill/lease/000000002.json").read_text()) | {"host": "elsewhere", "lease_s": 0.5}
            (output / "_embermill/lease/000000002.json").write_text(json.dumps(elsewhere))  # it cannot be told from here that it lives
            code = "import sys; from embermill.jobs.maintenance.garbage import collect; print(collect(sys.argv[1]).removed)"
            done = subprocess.run([sys.executable, "-c", code, str(output)], capture_output=True, text=True)
            assert done.returncode == 0 and "segments" not in done.stdout, done.stdout + done.stderr
        create(folder, name, data)

    with monkeypatch.context() as patched:
        patched.setattr(LocalFolder, "create", pausing)
        stopped = command("redrive", str(output))
    assert stopped.code == 4 and "taken over this dataset" in stopped.errors, stopped.errors
    assert command("redrive", str(output)).code == 0 and command("verify", str(output)).code == 0


def test_a_silent_run_commits_nothing_once_gc_has_its_lease(tmp_path: Path) -> None:
    folder, plan = open_folder(str(tmp_path)), make_plan()
    with hold_lease(folder) as lease:
        write_plan(folder, plan)
        commits = CommitLog(folder, lease.token)
        silent = {"host": "elsewhere", "pid": 1, "scope": "another boot", "started": "1", "lease_s": 0.2}
        (tmp_path / "_embermill/lease/000000001.json").write_text(json.dumps(silent))
        collect(str(tmp_path))
        with pytest.raises(AnotherRun, match="has taken over"):
            commits.append([write_shard(folder, plan)])
        with pytest.raises(AnotherRun, match="has taken over"):
            lease.require_held()


def test_old_claims_of_the_lease_go(dataset: Path, command: Command) -> None:
    for _ in range(4):
        assert command("gc", str(dataset)).code == 0
    age(dataset)
    removed = command("gc", str(dataset))["removed"]
    assert any(name.startswith("_embermill/lease/000000001") for name in removed)
    assert command("gc", str(dataset)).code == 0 and command("verify", str(dataset)).code == 0


def test_folders_of_dead_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    me = this_process()
    owners = {"alive": me, "dead": me | {"pid": 2**22 - 1, "started": "1"}, "elsewhere": me | {"host": "another"}, "unsaid": None}
    for name, owner in owners.items():
        folder = tmp_path / f"embermill-ray-{name}"
        folder.mkdir()
        if owner is not None:
            (folder / "owner.json").write_text(json.dumps(owner))
        os.utime(folder, (time.time() - 2 * DAY_S,) * 2)
    (tmp_path / "embermill-young").mkdir()
    (tmp_path / "another-program").mkdir()
    monkeypatch.setattr("embermill.jobs.maintenance.garbage._others_run", lambda: True)
    assert [path.name for path in list_scratch(tmp_path, time.time())] == ["embermill-ray-dead"]
    monkeypatch.setattr("embermill.jobs.maintenance.garbage._others_run", lambda: False)
    assert [path.name for path in list_scratch(tmp_path, time.time())] == ["embermill-ray-dead", "embermill-ray-unsaid"]


def test_no_dataset(tmp_path: Path, command: Command) -> None:
    answer = command("gc", str(tmp_path / "nothing"))
    assert answer.code == 2 and "there is no dataset here" in answer.errors and not (tmp_path / "nothing").exists()
