"""`sync` from the configuration to the version: what is embedded, what is copied, what is opened, and what the rows are afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from embermill.jobs.run import run
from embermill.jobs.sync_job import sync
from embermill.jobs.sync_summary import SyncSummary
from tests.jobs.sync.corpus import Corpus, TellingEngine, configure, live_rows, row


def begin(tmp_path: Path, corpus: Corpus, **files: list[dict[str, Any]]) -> None:
    for name, rows in (files or {"a": [row(f"a{n}", f"text a {n}") for n in range(20)], "b": [row(f"b{n}", f"text b {n}") for n in range(20)]}).items():
        corpus.write(f"{name}.jsonl", rows)
    run(configure(tmp_path))
    TellingEngine.taken()


def check(tmp_path: Path, corpus: Corpus, summary: SyncSummary) -> None:
    """The current rows are those of a fresh run over the corpus, bit for bit."""
    TellingEngine.given, before = [], TellingEngine.given
    fresh = f"fresh-{summary.version}"
    run(configure(tmp_path, fresh))
    TellingEngine.given = before
    without = ("version",)
    assert live_rows(str(tmp_path / "out"), without=without) == live_rows(str(tmp_path / fresh), without=without)
    assert summary.rows == len(corpus.rows)


def test_an_edit_embeds_one_text(tmp_path: Path, corpus: Corpus) -> None:
    begin(tmp_path, corpus)
    rows = corpus.files["a.jsonl"]
    corpus.write("a.jsonl", [*rows[:3], row("a3", "edited"), *rows[4:]])
    summary = sync(configure(tmp_path))
    assert (summary.action, summary.version, summary.rows_changed, summary.rows_new, summary.texts_embedded) == ("committed", 2, 1, 0, 1)
    assert summary.files == {"same": 1, "renamed": 0, "new": 0, "changed": 1, "gone": 0, "scanned": 1}
    assert TellingEngine.taken() == ["edited"]
    check(tmp_path, corpus, summary)
    assert sync(configure(tmp_path)).action == "nothing"
