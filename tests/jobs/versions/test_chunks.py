"""Versions of a dataset of chunks that are made without embedding: documents stay whole, and go whole."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import embermill
from embermill.jobs.dataset.metadata.versions import read_version
from embermill.jobs.storage import open_folder
from embermill.jobs.sync.job import sync
from tests.jobs.command_line import command, open_inline_pool
from tests.jobs.sync.chunks import TellingChunkEngine, begin, bring, documents, prose, require_whole_documents, settings
from tests.jobs.sync.corpus import Corpus, Row, live_rows


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.run.open_pool", open_inline_pool)
    monkeypatch.setattr("embermill.jobs.sync.stages.open_pool", open_inline_pool)
    TellingChunkEngine.given = []


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path / "corpus")


@pytest.fixture
def edited(tmp_path: Path, corpus: Corpus) -> list[Row]:
    """Version 2 of three."""
    rows = documents(12)
    corpus.write("a.jsonl", rows)
    begin(tmp_path)
    rows[0] |= {"text": rows[0]["text"] + " and more " + prose(70, 60)}
    rows[1] |= {"text": rows[1]["text"][:900]}
    corpus.write("a.jsonl", [*rows[:10], *documents(1, first=30)])
    sync(settings(tmp_path))
    rows[0] |= {"text": prose(5, 40)}
    corpus.write("a.jsonl", [*rows[:9], rows[11]])
    sync(settings(tmp_path))
    TellingChunkEngine.taken()
    return rows


def check(root: Path, *, of: int, rows: dict[str, Row]) -> None:
    """rows: without their versions."""
    out = str(root / "out")
    assert read_version(open_folder(out)).number == of
    assert live_rows(out, without=("version",)) == rows
    require_whole_documents(out)
    assert command("verify", out).code == 0
    assert read_version(open_folder(out)).totals["documents"] == len({row["document_id"] for row in rows.values()})


def test_compact_and_then_sync(tmp_path: Path, corpus: Corpus, edited: list[Row]) -> None:
    out = str(tmp_path / "out")
    before = live_rows(out, without=("version",))
    assert command("compact", out).code == 0
    check(tmp_path, of=4, rows=before)
    edited[2] |= {"text": "changed " + edited[2]["text"]}
    corpus.write("a.jsonl", edited[1:9])
    assert bring(tmp_path).version == 5


@pytest.mark.parametrize("to", [1, 2])
def test_rollback_and_then_sync(tmp_path: Path, corpus: Corpus, edited: list[Row], to: int) -> None:
    out = str(tmp_path / "out")
    then = live_rows(out, to, without=("version",))
    assert command("rollback", out, "--to", str(to)).code == 0
    check(tmp_path, of=4, rows=then)
    summary = bring(tmp_path)
    assert summary.version == 5


def test_what_a_copy_of_a_version_lacks(tmp_path: Path, edited: list[Row]) -> None:
    """Reading what changed since each version brings a copy of it to the newest, chunk by chunk."""
    out = str(tmp_path / "out")
    command("rollback", out, "--to", "1")
    now = live_rows(out)
    for since in (1, 2, 3):
        copy = live_rows(out, since)
        for row in embermill.open_dataset(out, since=since).read_all().to_pylist():
            copy.pop(row["id"], None)
            if row.pop("change") == "upsert":
                copy[row["id"]] = row
        assert {key: row | {"version": 0} for key, row in copy.items()} == {key: row | {"version": 0} for key, row in now.items()}
    assert {row["id"] for row in embermill.open_dataset(out, version=2).read_all().to_pylist()} == {*live_rows(out, 2)}


def test_an_erased_document_leaves_nothing(tmp_path: Path, corpus: Corpus, edited: list[Row]) -> None:
    out = str(tmp_path / "out")
    ids = tmp_path / "ids.txt"
    ids.write_text("d0\nd1\nd10\n")
    before = live_rows(out, without=("version",))
    assert command("erase", out, "--ids", str(ids)).code == 0
    kept = {key: row for key, row in before.items() if row["document_id"] not in ("d0", "d1", "d10")}
    check(tmp_path, of=4, rows=kept)
    erased = [key.encode() for key, row in before.items() if row["document_id"] in ("d0", "d1")] + [edited[0]["text"][:60].encode()]
    for file in (tmp_path / "out").rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            if file.suffix in (".parquet", ".pq"):
                data = repr(pq.read_table(file).to_pylist()).encode()
            assert not [each for each in erased if each in data], file
    corpus.write("a.jsonl", [*edited[2:9], edited[11]])
    bring(tmp_path)


def test_ids_of_documents_are_integers(tmp_path: Path, corpus: Corpus) -> None:
    rows: list[Row] = [{"id": number, "text": prose(number), "lang": "en"} for number in range(9)]
    corpus.write("a.jsonl", rows)
    begin(tmp_path)
    corpus.write("a.jsonl", [rows[0] | {"text": prose(77)}, *rows[2:]])
    bring(tmp_path)
    out = str(tmp_path / "out")
    ids = tmp_path / "ids.txt"
    ids.write_text("3\n4\n")
    assert command("erase", out, "--ids", str(ids)).code == 0
    assert {row["document_id"] for row in live_rows(out).values()} == {0, 2, 5, 6, 7, 8}
    corpus.write("a.jsonl", rows[2:3] + rows[5:])
    bring(tmp_path)


def test_keys_made_again(tmp_path: Path, corpus: Corpus, edited: list[Row]) -> None:
    out = tmp_path / "out"
    for file in (out / "_embermill/keys").rglob("*.pq"):
        file.unlink()
    assert command("verify", str(out)).code != 0
    assert command("repair", str(out)).code == 0
    check(tmp_path, of=4, rows=live_rows(str(out), without=("version",)))
    edited[4] |= {"text": prose(404)}
    corpus.write("a.jsonl", edited[:9])
    assert bring(tmp_path).version == 5


def test_a_document_in_a_batch_of_its_own(tmp_path: Path, corpus: Corpus, edited: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are read in batches; a file ends where a document does all the same."""
    monkeypatch.setattr("embermill.jobs.dataset.views.live.BATCH_ROWS", 3)
    monkeypatch.setattr("embermill.jobs.dataset.views.live.LiveRows.read.__defaults__", (None, 0, 3))
    out = str(tmp_path / "out")
    then = live_rows(out, 1, without=("version",))
    assert command("rollback", out, "--to", "1").code == 0
    check(tmp_path, of=4, rows=then)


