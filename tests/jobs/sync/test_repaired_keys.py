"""Keys that `repair` has made from the rows: which corpus file a row is of they do not tell, so the next sync that finds a change reads every file."""

from __future__ import annotations

from pathlib import Path

import pytest

from embermill.jobs.maintenance.repair import repair
from embermill.jobs.sync.job import sync
from embermill.jobs.versions.compact import compact
from embermill.jobs.versions.making import make_version
from tests.jobs.sync.corpus import Corpus, TellingEngine, configure, live_rows, row


@pytest.fixture
def repaired(tmp_path: Path, embedded: Corpus) -> Corpus:
    embedded.write("c.jsonl", [row("c0", "text c 0")])
    assert sync(configure(tmp_path)).version == 2
    for path in (tmp_path / "out/_embermill/keys").rglob("*.pq"):
        path.unlink()
    assert any("/keys/" in name for name in repair(str(tmp_path / "out")).repaired)
    TellingEngine.taken()
    return embedded


@pytest.mark.parametrize("then", [None, "compact"])
def test_no_row_of_a_file_that_did_not_change_is_taken_for_deleted(tmp_path: Path, repaired: Corpus, then: str | None) -> None:
    if then is not None:
        make_version(str(tmp_path / "out"), then, compact)
    assert sync(configure(tmp_path)).action == "nothing"
    repaired.write("a.jsonl", [row("a0", "edited"), *repaired.files["a.jsonl"][1:]])
    summary = sync(configure(tmp_path, corpus={"complete": True, "max_deleted_share": 1}))
    assert (summary.files["scanned"], summary.rows, summary.rows_deleted, summary.rows_changed) == (3, 41, 0, 1) and TellingEngine.taken() == ["edited"]
    assert live_rows(str(tmp_path / "out")).keys() == repaired.rows.keys()
    repaired.write("b.jsonl", repaired.files["b.jsonl"][1:])
    summary = sync(configure(tmp_path, corpus={"complete": True}))
    assert (summary.files["scanned"], summary.rows_deleted, summary.rows) == (1, 1, 40), "now the files are known again"


def test_rows_of_a_file_that_cannot_be_read_then_stay(tmp_path: Path, repaired: Corpus) -> None:
    (tmp_path / "corpus/b.jsonl").write_bytes(b"\x00" * 50)
    summary = sync(configure(tmp_path, corpus={"complete": True, "max_deleted_share": 1, "max_quarantined": 1}))
    assert (summary.rows, summary.rows_deleted, summary.rows_stale) == (41, 0, 20)
