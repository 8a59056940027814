"""Syncs that end in the middle, that meet, and that come late: one version, and nothing embedded twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from embermill.jobs.dataset.metadata import lease as lease_module
from embermill.jobs.dataset.metadata.versions import abandon_version, commit_version, read_versions
from embermill.jobs.difference.writing import create_writes
from embermill.jobs.errors import AnotherRun, Interrupted
from embermill.jobs.storage import open_folder
from embermill.jobs.storage.local import LocalFolder
from embermill.jobs.sync.job import sync
from tests.jobs.sync.corpus import Corpus, TellingEngine, configure, live_rows, row


class Killed(BaseException):
    """As SIGKILL: nothing of ours catches it."""


@pytest.fixture
def begun(embedded: Corpus) -> Corpus:
    """Two files of 20 rows, embedded; then 100 rows come."""
    embedded.write("c.jsonl", [row(f"c{n}", f"text c {n}" + " and so on" * 5) for n in range(100)])
    return embedded


@contextmanager
def killed_after(monkeypatch: pytest.MonkeyPatch, prefix: str, times: int = 1) -> Iterator[None]:
    """Dies once so many files of that prefix stand."""
    real, left = LocalFolder.publish, [times]

    def publish(folder: LocalFolder, temporary: Path, name: str) -> None:
        real(folder, temporary, name)
        if name.startswith(prefix):
            left[0] -= 1
            if not left[0]:
                raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(LocalFolder, "publish", publish)
        yield


def states(root: Path) -> list[tuple[int, str]]:
    return [(version.number, version.state) for version in read_versions(open_folder(str(root / "out")))]


def test_a_sync_that_was_killed_goes_on_and_embeds_nothing_twice(tmp_path: Path, begun: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    with killed_after(monkeypatch, "changes/", 3), pytest.raises(Killed):
        sync(configure(tmp_path))
    before = TellingEngine.taken()
    assert sync(configure(tmp_path)).version == 2 and states(tmp_path) == [(1, "committed"), (2, "committed")]
    again = sorted(set(before) & set(TellingEngine.taken()))
    assert 0 < len(before) < 100 and len(again) <= 40  # texts of partitions that were in flight
    assert len(live_rows(str(tmp_path / "out"))) == 140


def test_where_the_corpus_changed_meanwhile_its_vectors_are_used(tmp_path: Path, begun: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    with killed_after(monkeypatch, "changes/", 3), pytest.raises(Killed):
        sync(configure(tmp_path))
    TellingEngine.taken()
    shards = [*(tmp_path / "out/changes/000002/upserts").iterdir()]
    finished = sum(pq.read_metadata(path).num_rows for path in shards)
    begun.write("d.jsonl", [row("d", "one more")])
    summary = sync(configure(tmp_path))
    assert (summary.version, summary.rows_new) == (3, 101) and states(tmp_path) == [(1, "committed"), (2, "abandoned"), (3, "committed")]
    assert summary.vectors_copied == finished and summary.texts_embedded == 101 - finished == len(TellingEngine.taken())
    assert len(live_rows(str(tmp_path / "out"))) == 141 and sync(configure(tmp_path)).action == "nothing"


def test_a_corpus_that_changes_while_it_is_read_is_listed_once_more(tmp_path: Path, begun: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    real, times = create_writes, [1]

    def create_and_change(*arguments: Any) -> Any:
        if times[0]:
            times[0] -= 1
            begun.write("c.jsonl", [row(f"c{n}", f"TEXT {len(states(tmp_path))} {n}") for n in range(100)])
        return real(*arguments)

    monkeypatch.setattr("embermill.jobs.sync.stages.create_writes", create_and_change)
    summary = sync(configure(tmp_path))
    assert (summary.version, summary.abandoned, summary.rows_new) == (3, 1, 100) and states(tmp_path)[1] == (2, "abandoned")
    assert TellingEngine.taken() == sorted(f"TEXT 1 {n}" for n in range(100))
    times[0] = 2
    begun.write("c.jsonl", [row(f"c{n}", f"Text c {n}") for n in range(100)])
    with pytest.raises(Interrupted, match="changed twice while a version was made: run again"):
        sync(configure(tmp_path))
    assert sync(configure(tmp_path)).version == 6 and live_rows(str(tmp_path / "out"))["c7"]["num_tokens"] == 3


def test_two_at_once_are_one_version(tmp_path: Path, begun: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[BaseException] = []
    together = threading.Barrier(2)

    def start() -> None:
        together.wait()
        try:
            sync(configure(tmp_path))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(error) for error in errors] in ([AnotherRun], [])  # [] where one was through before the other looked
    assert not errors or "`embermill sync`, process" in str(errors[0])
    assert states(tmp_path) == [(1, "committed"), (2, "committed")] and len(live_rows(str(tmp_path / "out"))) == 140


@pytest.mark.parametrize("decided", ["abandoned", "committed"])
def test_a_zombie_that_comes_late_changes_nothing(tmp_path: Path, begun: Corpus, monkeypatch: pytest.MonkeyPatch, decided: str) -> None:
    """Its lease is gone and it does not know; it has everything but the version's deciding file."""
    real, late = commit_version, list[bool]()

    def commit_late(*arguments: Any) -> Any:
        if not late:
            late.append(True)
            if decided == "abandoned":
                abandon_version(open_folder(str(tmp_path / "out")), 2, "another run")
            else:
                begun.write("c.jsonl", [row("c0", "other")])
                monkeypatch.setattr(lease_module, "is_running", lambda holder: False)
                monkeypatch.setattr(lease_module, "is_gone", lambda holder: True)
                assert sync(configure(tmp_path)).version == 3
        return real(*arguments)

    monkeypatch.setattr("embermill.jobs.sync.stages.commit_version", commit_late)
    with pytest.raises(AnotherRun):
        sync(configure(tmp_path))
    if decided == "abandoned":
        assert states(tmp_path) == [(1, "committed"), (2, "abandoned")] and len(live_rows(str(tmp_path / "out"))) == 40
        assert sync(configure(tmp_path)).version == 3 and len(live_rows(str(tmp_path / "out"))) == 140
    else:
        assert states(tmp_path) == [(1, "committed"), (2, "abandoned"), (3, "committed")] and len(live_rows(str(tmp_path / "out"))) == 41
