"""A sync that reads files again and finds no row changed makes no version, and the next one does not open them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embermill.jobs.commands.answers_sync import show_sync
from embermill.jobs.dataset.metadata.versions import read_versions
from embermill.jobs.difference.seen import look_at_corpus
from embermill.jobs.plan.files import require_plan
from embermill.jobs.run import run
from embermill.jobs.storage import open_folder
from embermill.jobs.sync.job import SyncOptions, sync
from embermill.jobs.sync.summary import SyncSummary
from embermill.jobs.versions.compact import compact
from embermill.jobs.versions.making import make_version
from embermill.jobs.versions.rollback import rollback
from tests.jobs.command_line import command
from tests.jobs.sync.corpus import Corpus, TellingEngine, configure, live_rows, row

COMPLETE = {"complete": True}


def touch(corpus: Corpus, *names: str) -> None:
    for name in names or [*corpus.files]:
        corpus.write(name, corpus.files[name])


def committed(root: Path) -> list[int]:
    return [version.number for version in read_versions(open_folder(str(root / "out"))) if version.is_committed]


def passed_over(root: Path, summary: SyncSummary, version: int = 1) -> None:
    """Nothing is told to anybody who reads the dataset, and the next sync opens nothing and writes nothing."""
    out = root / "out"
    assert (summary.action, summary.version, summary.texts_embedded) == ("nothing", version, 0) and committed(root)[-1] == version
    before = sorted(path for path in out.rglob("*") if path.is_file())
    again = sync(configure(root))
    assert (again.action, again.version, again.files["scanned"]) == ("nothing", version, 0)
    assert sorted(path for path in out.rglob("*") if path.is_file()) == before
    plan = require_plan(folder := open_folder(str(out)))
    assert look_at_corpus(folder, plan, configure(root).corpus)["changed"] == 0 and command("verify", str(out)).code == 0


def test_files_that_were_touched(tmp_path: Path, embedded: Corpus) -> None:
    touch(embedded)
    summary = sync(configure(tmp_path))
    assert (summary.files["changed"], summary.files["scanned"], summary.rows, summary.rows_unchanged) == (2, 2, 40, 40)
    passed_over(tmp_path, summary)
    shown = show_sync(summary.to_json())
    assert shown == f"{tmp_path}/out: version 1 is up to date: 2 changed; 2 read, and no row changed; 40 rows"
    assert not [path for part in ("changes", "_embermill/sync/000002") for path in (tmp_path / "out" / part).rglob("*") if path.is_file()]
    assert [each["state"] for each in command("history", str(tmp_path / "out"))["versions"]] == ["readable", "abandoned"]


def test_then_an_edit_is_the_next_version(tmp_path: Path, embedded: Corpus) -> None:
    for _ in range(3):
        touch(embedded)
        assert sync(configure(tmp_path)).action == "nothing"
    embedded.write("a.jsonl", [row("a0", "edited"), *embedded.files["a.jsonl"][2:]])
    summary = sync(configure(tmp_path, corpus=COMPLETE))
    assert (summary.action, summary.version, summary.parent, summary.rows_changed, summary.rows_deleted) == ("committed", 5, 1, 1, 1)
    assert summary.files["scanned"] == 1 and TellingEngine.taken() == ["edited"]
    assert live_rows(str(tmp_path / "out")).keys() == embedded.rows.keys() and command("verify", str(tmp_path / "out")).code == 0
    touch(embedded, "b.jsonl")
    passed_over(tmp_path, sync(configure(tmp_path)), 5)


def test_a_file_without_rows_comes_is_filled_and_goes(tmp_path: Path, embedded: Corpus) -> None:
    embedded.write("0.jsonl", [])
    passed_over(tmp_path, sync(configure(tmp_path)))
    embedded.write("c.jsonl", [row("c0", "text c 0")])
    assert sync(configure(tmp_path)).rows_new == 1
    embedded.write("0.jsonl", [row("z", "text z")])
    summary = sync(configure(tmp_path))
    assert (summary.rows_new, summary.files["changed"], summary.files["scanned"]) == (1, 1, 1)
    embedded.write("0.jsonl", [])
    assert sync(configure(tmp_path, corpus=COMPLETE)).rows_deleted == 1
    embedded.remove("0.jsonl")
    summary = sync(configure(tmp_path))
    assert summary.files["gone"] == 1
    passed_over(tmp_path, summary, committed(tmp_path)[-1])


class TestWhatMakesAVersion:
    """What somebody wants to be told though no row changed."""

    def test_rows_that_were_refused(self, tmp_path: Path, embedded: Corpus) -> None:
        embedded.write("a.jsonl", embedded.files["a.jsonl"], raw="{\n")
        summary = sync(configure(tmp_path))
        assert (summary.action, summary.version, summary.rows_quarantined) == ("committed", 2, 1)
        touch(embedded, "b.jsonl")
        passed_over(tmp_path, sync(configure(tmp_path)), 2)
        touch(embedded, "a.jsonl")  # without the bad line
        summary = sync(configure(tmp_path))
        assert (summary.action, summary.rows_quarantined) == ("committed", 0)

    def test_rows_that_no_file_gives_any_more(self, tmp_path: Path, embedded: Corpus) -> None:
        embedded.write("a.jsonl", embedded.files["a.jsonl"][1:])
        assert (sync(configure(tmp_path)).rows_unseen, committed(tmp_path)) == (1, [1, 2])
        touch(embedded)
        summary = sync(configure(tmp_path))
        assert summary.rows_unseen == 1
        passed_over(tmp_path, summary, 2)
        assert sync(configure(tmp_path, corpus=COMPLETE)).rows_deleted == 1

    def test_a_row_that_another_file_gives(self, tmp_path: Path, embedded: Corpus) -> None:
        embedded.rename("a.jsonl", "c.jsonl")
        assert (sync(configure(tmp_path)).rows_moved, committed(tmp_path)) == (20, [1, 2])

    def test_a_listing_that_was_lost(self, tmp_path: Path, embedded: Corpus) -> None:
        embedded.write("a.jsonl", embedded.files["a.jsonl"][1:])
        sync(configure(tmp_path))
        for path in (tmp_path / "out/_embermill/sync").glob("inputs-*.pq"):
            path.write_bytes(b"junk")
        assert sync(configure(tmp_path), SyncOptions(rescan=True)).action == "committed" and sync(configure(tmp_path)).action == "nothing"

    def test_so_many_numbers_that_readers_would_look_for_the_newest_version(
        self, tmp_path: Path, embedded: Corpus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("embermill.jobs.sync.passing_over.MOST_PASSED_OVER", 2)
        for version in (1, 1, 4, 4):
            touch(embedded)
            assert sync(configure(tmp_path)).version == version
        assert committed(tmp_path) == [1, 4]


@pytest.mark.parametrize("at", ["abandon_version", "require_held"])
def test_killed_where_that_is_decided(tmp_path: Path, embedded: Corpus, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    touch(embedded)
    place = "embermill.jobs.sync.passing_over.abandon_version" if at == "abandon_version" else "embermill.jobs.dataset.metadata.lease.Lease.require_held"
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(place, killed)
        sync(configure(tmp_path))
    summary = sync(configure(tmp_path))
    assert summary.files["scanned"] == 2
    passed_over(tmp_path, summary)


def test_what_was_noted_is_damaged(tmp_path: Path, embedded: Corpus) -> None:
    """The files are opened once more, no more than that."""
    touch(embedded)
    sync(configure(tmp_path))
    for path in (tmp_path / "out/_embermill/sync").glob("inputs-*.pq"):
        path.unlink()
    summary = sync(configure(tmp_path))
    assert (summary.action, summary.files["scanned"], committed(tmp_path)) == ("nothing", 2, [1])


@pytest.mark.parametrize("command_", ["compact", "rollback"])
def test_with_versions_that_are_made_afterwards(tmp_path: Path, embedded: Corpus, command_: str) -> None:
    embedded.write("a.jsonl", [row("a0", "edited"), *embedded.files["a.jsonl"][1:]])
    assert sync(configure(tmp_path)).version == 2
    embedded.write("0.jsonl", [])
    touch(embedded)
    assert sync(configure(tmp_path)).version == 2
    make: Callable[..., Any] = compact if command_ == "compact" else lambda folder, plan: rollback(folder, plan, 1)
    make_version(str(tmp_path / "out"), command_, make)
    TellingEngine.taken()
    embedded.write("0.jsonl", [row("z", "text z")])
    summary = sync(configure(tmp_path, corpus=COMPLETE))
    assert summary.rows == 41 and live_rows(str(tmp_path / "out"), without=("version",)).keys() == embedded.rows.keys()
    run(configure(tmp_path, "fresh"))
    assert live_rows(str(tmp_path / "out"), without=("version",)) == live_rows(str(tmp_path / "fresh"), without=("version",))


def test_an_object_that_was_renamed_and_goes(s3_folder_url: str, put_object: Any, tmp_path: Path) -> None:
    url = s3_folder_url
    rows = {name: "".join(json.dumps(row(f"{name}{n}", f"text {name} {n}")) + "\n" for n in range(9)).encode() for name in "ab"}
    for name in "ab":
        put_object(f"{url}/corpus/{name}.jsonl", rows[name])
    config = configure(tmp_path, f"{url}/out", corpus={"files": [f"{url}/corpus/*.jsonl"], "complete": True})
    run(config)
    put_object(f"{url}/corpus/c.jsonl", rows["b"])
    open_folder(f"{url}/corpus").remove("b.jsonl")
    summary = sync(config)
    assert (summary.action, summary.version, summary.files["renamed"], summary.files["scanned"]) == ("nothing", 1, 1, 0)
    assert sync(config).files == {"same": 2, "renamed": 0, "new": 0, "changed": 0, "gone": 0, "scanned": 0}
    open_folder(f"{url}/corpus").remove("c.jsonl")
    summary = sync(config, SyncOptions(allow_deletes=9))
    assert summary.rows_deleted == 9 and live_rows(f"{url}/out").keys() == {f"a{n}" for n in range(9)}


def test_times_alone_change_often_and_the_feed_says_nothing(tmp_path: Path, embedded: Corpus) -> None:
    for path in (tmp_path / "corpus").iterdir():
        os.utime(path)
    sync(configure(tmp_path))
    told = command("changes", str(tmp_path / "out"), "--since", "1")
    assert (told.code, told["to"], told["files"]) == (0, 1, []), told.errors
