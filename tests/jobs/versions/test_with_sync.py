"""Syncs before and after compactions, rollbacks, collections and erasures: the rows are those of a fresh run, little is embedded, and `verify` is content."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from embermill.jobs.dataset.metadata.keys import UNKNOWN_FILE, all_live_keys
from embermill.jobs.dataset.metadata.versions import read_version
from embermill.jobs.plan.files import require_plan
from embermill.jobs.storage import open_folder
from embermill.jobs.sync.job import sync
from tests.jobs.command_line import Answer
from tests.jobs.sync.conftest import corpus, inline
from tests.jobs.sync.corpus import Corpus, TellingEngine, configure, live_rows, row
from tests.jobs.sync.test_sync import begin, check

Command = Callable[..., Answer]
UNVERSIONED = ("version",)
__all__ = ["corpus", "inline"]  # the fixtures of `sync`


def edit(where: Corpus, place: int, text: str) -> None:
    rows = where.files["a.jsonl"]
    where.write("a.jsonl", [*rows[:place], row(rows[place]["id"], text), *rows[place + 1 :]])


def test_a_life(tmp_path: Path, corpus: Corpus, command: Command) -> None:
    out = str(tmp_path / "out")
    begin(tmp_path, corpus)
    at_1 = live_rows(out, without=UNVERSIONED)

    def made(text: str) -> None:
        edit(corpus, 3, text)
        summary = sync(configure(tmp_path))
        assert (TellingEngine.taken(), summary.files["scanned"], summary.rows_unchanged) == ([text], 1, 39)
        check(tmp_path, corpus, summary)
        assert command("verify", out)["version"] == summary.version

    made("edited once")
    assert command("compact", out)["version"] == 3 and command("verify", out).code == 0
    made("edited twice")
    assert command("rollback", out, "--to", "1")["version"] == 5 and live_rows(out, without=UNVERSIONED) == at_1
    assert command("verify", out).code == 0
    folder = open_folder(out)
    keys = [table for _, table in all_live_keys(folder, read_version(folder), require_plan(folder).rows.id_type)]
    assert UNKNOWN_FILE not in {file for table in keys for file in table.column("file").to_pylist()}
    summary = sync(configure(tmp_path))
    assert summary.version == 6 and TellingEngine.taken() == ["edited twice"]
    check(tmp_path, corpus, summary)
    for path in Path(out).rglob("*"):
        os.utime(path, (1, 1))
    assert command("compact", out)["version"] == 7
    assert command("gc", out, "--keep-versions", "1")["retired"] == [1, 2, 3, 4, 5, 6]
    made("edited thrice")
    (tmp_path / "ids").write_text("a3\nb7\n")
    assert command("erase", out, "--ids", str(tmp_path / "ids"))["rows"] == 2
    assert sync(configure(tmp_path)).action == "nothing" and command("verify", out).code == 0
    assert live_rows(out).keys() == corpus.rows.keys() - {"a3", "b7"}
