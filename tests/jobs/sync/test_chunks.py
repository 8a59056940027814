"""`sync` of a dataset of chunks: keys are of documents, vectors of chunks."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from embermill.jobs.errors import DataError, UsageError
from embermill.jobs.run import run
from embermill.jobs.storage import open_folder
from embermill.jobs.sync.job import SyncOptions, sync
from tests.jobs.sync.chunks import TellingChunkEngine, begin, bring, documents, prose, settings
from tests.jobs.sync.corpus import Corpus, Row, live_rows


@pytest.fixture(autouse=True)
def nothing_given() -> None:
    TellingChunkEngine.given = []


def changed(row: Row, **values: Any) -> Row:
    return row | values


def test_one_word_in_2_percent_of_the_documents(tmp_path: Path, corpus: Corpus) -> None:
    rows = documents(100)
    corpus.write("a.jsonl", rows[:50])
    corpus.write("b.jsonl", rows[50:])
    begin(tmp_path)
    words = rows[17]["text"].split(" ")
    words[150] = "another"
    rows[17] = changed(rows[17], text=" ".join(words))
    rows[60] = changed(rows[60], text="first " + rows[60]["text"])
    corpus.write("a.jsonl", rows[:50])
    corpus.write("b.jsonl", rows[50:])
    summary = bring(tmp_path)
    assert summary.documents is not None and (summary.documents["changed"], summary.documents["unchanged"]) == (2, 98)
    assert 2 <= summary.texts_embedded <= 3
    assert sync(settings(tmp_path)).action == "nothing"
    corpus.write("a.jsonl", rows[:50])
    touched = sync(settings(tmp_path))
    assert (touched.action, touched.version, touched.files["scanned"], touched.texts_embedded) == ("nothing", summary.version, 1, 0)
    assert touched.documents is not None and touched.documents["unchanged"] == 100 and sync(settings(tmp_path)).files["scanned"] == 0


def test_each_kind_of_change_at_once(tmp_path: Path, corpus: Corpus) -> None:
    rows = documents(12)
    shared = prose(1000, 28)
    rows[7] = changed(rows[7], text=shared)
    rows[8] = changed(rows[8], text=shared)
    corpus.write("a.jsonl", rows)
    begin(tmp_path)
    shrunk, emptied = changed(rows[0], text=rows[0]["text"][:500]), changed(rows[1], text="")
    grown, other_lang, renamed = changed(rows[2], text=rows[2]["text"] + prose(77, 90)), changed(rows[3], lang="de"), changed(rows[4], id="e4")
    twice = changed(rows[5], text=rows[5]["text"] + "\n\n" + rows[5]["text"])
    corpus.write("a.jsonl", [shrunk, emptied, grown, other_lang, renamed, twice, rows[6], rows[8], rows[9]])
    corpus.write("b.jsonl", [changed(rows[10]), *documents(2, first=50)])
    summary = bring(tmp_path)
    told = summary.documents
    assert told is not None
    assert {name: told[name] for name in ("new", "changed", "metadata", "moved", "deleted")} == {
        "new": 3, "changed": 4, "metadata": 1, "moved": 1, "deleted": 3,
    }  # fmt: skip
    live = live_rows(str(tmp_path / "out"))
    assert {row["document_id"] for row in live.values()} >= {"d8", "e4"} and not {row["document_id"] for row in live.values()} & {"d4", "d7", "d11"}


def test_a_renamed_document_embeds_nothing(tmp_path: Path, corpus: Corpus) -> None:
    rows = documents(3)
    corpus.write("a.jsonl", rows)
    begin(tmp_path)
    corpus.write("a.jsonl", [changed(rows[0], id="renamed"), *rows[1:]])
    summary = bring(tmp_path)
    assert summary.texts_embedded == 0 and summary.rows_new == summary.rows_deleted > 3


def test_many_syncs_one_after_another(tmp_path: Path, corpus: Corpus) -> None:
    chosen = random.Random(3)
    rows = documents(20)
    corpus.write("a.jsonl", rows)
    begin(tmp_path)
    for step in range(4):
        at = chosen.randrange(len(rows))
        rows[at] = changed(rows[at], text=prose(chosen.randrange(9), 100 + 50 * step))
        del rows[chosen.randrange(len(rows))]
        corpus.write("a.jsonl", rows)
        bring(tmp_path)


def test_a_document_with_an_integer_id_and_a_prefix(tmp_path: Path, corpus: Corpus) -> None:
    sections: dict[str, Any] = {"chunk": {"prefix_columns": ["title"]}}
    rows: list[Row] = [{"id": number, "text": prose(number), "lang": "en", "title": f"title {number % 3}"} for number in range(8)]
    corpus.write("a.jsonl", rows)
    begin(tmp_path, **sections)
    corpus.write("a.jsonl", [*rows[:5], changed(rows[5], title="another"), changed(rows[6], title=" ".join(["long"] * 40)), rows[7]])
    summary = bring(tmp_path, **sections)
    assert summary.documents is not None and (summary.documents["changed"], summary.documents["unchanged"]) == (2, 6)
    rows[0] = changed(rows[0], text=rows[0]["text"] + " more")
    corpus.write("a.jsonl", [rows[0], *rows[1:5], changed(rows[5], title="another"), changed(rows[6], title=" ".join(["long"] * 40)), rows[7]])
    bring(tmp_path, **sections)


def test_a_document_that_fails_keeps_its_chunks(tmp_path: Path, corpus: Corpus) -> None:
    rows = documents(6)
    corpus.write("a.jsonl", rows)
    begin(tmp_path)
    before = live_rows(str(tmp_path / "out"))
    corpus.write("a.jsonl", [changed(rows[0], text=rows[0]["text"] + " POISON " + prose(5, 40)), changed(rows[1], text=prose(90)), *rows[2:]])
    summary = bring(tmp_path, clean=False, corpus={"max_quarantined": 3})
    assert summary.documents is not None and summary.documents["quarantined"] == 1
    after = live_rows(str(tmp_path / "out"))
    kept = {identity for identity, row in before.items() if row["document_id"] == "d0"}
    assert kept <= {*after} and {identity: after[identity] for identity in kept} == {identity: before[identity] for identity in kept}
    (refused,) = [name for name, _ in open_folder(str(tmp_path / "out")).list("quarantine/000002")]
    (entry,) = pq.read_table(tmp_path / "out" / refused).to_pylist()
    assert (entry["id"], entry["reason"]) == ("d0", "encoder_failed") and re.fullmatch(r"chunk d0#\w+: ValueError: poisoned", entry["error"])


def test_a_first_version_of_which_every_document_fails_is_none(tmp_path: Path, corpus: Corpus) -> None:
    good = documents(2)
    corpus.write("a.jsonl", good)
    begin(tmp_path)
    corpus.write("a.jsonl", [changed(each, text=f"POISON {each['text']}") for each in good])
    other, reuse = settings(tmp_path, "other", corpus={"max_quarantined": 5}), SyncOptions(reuse=(str(tmp_path / "out"),))
    for number in (2, 3):
        said = rf"all 2 rows were quarantined, see quarantine/{number:06d}/ .*the first: .*encoder_failed: chunk d0#\w+: ValueError: poisoned"
        with pytest.raises(DataError, match=said):
            sync(other, reuse)
    corpus.write("a.jsonl", good)
    assert (summary := sync(other, reuse)).documents is not None and (summary.version, summary.documents["live"], summary.texts_embedded) == (4, 2, 0)


def test_few_deletes_are_of_documents(tmp_path: Path, corpus: Corpus) -> None:
    rows = documents(10)
    corpus.write("a.jsonl", rows)
    begin(tmp_path)
    corpus.write("a.jsonl", rows[:7])
    with pytest.raises(DataError, match=r"3 of 10 documents would be deleted.*--allow-deletes 3"):
        sync(settings(tmp_path, corpus={"max_deleted_share": 0.2}))
    assert bring(tmp_path, SyncOptions(allow_deletes=3), corpus={"max_deleted_share": 0.2}).rows_deleted > 30


def test_documents_with_one_id(tmp_path: Path, corpus: Corpus) -> None:
    """The run writes both; a sync leaves the first."""
    rows = documents(4)
    rows[2] = changed(rows[2], id="d0")
    corpus.write("a.jsonl", rows)
    begin(tmp_path)
    corpus.write("a.jsonl", [*rows, *documents(1, first=9)])
    sync(settings(tmp_path))
    live = live_rows(str(tmp_path / "out"), without=("version",))
    corpus.write("a.jsonl", [rows[0], rows[1], rows[3], *documents(1, first=9)])
    run(settings(tmp_path, "fresh"))
    assert live == live_rows(str(tmp_path / "fresh"), without=("version",))


def test_vectors_of_another_dataset(tmp_path: Path, corpus: Corpus) -> None:
    corpus.write("a.jsonl", documents(6))
    run(settings(tmp_path, "other"))
    corpus.write("a.jsonl", documents(8))
    TellingChunkEngine.taken()
    summary = sync(settings(tmp_path), SyncOptions(reuse=(str(tmp_path / "other"),)))
    assert summary.documents is not None and summary.documents["new"] == 8
    live = live_rows(str(tmp_path / "out"))
    assert TellingChunkEngine.taken() == sorted(row["text"] for row in live.values() if row["document_id"] in ("d6", "d7"))


@pytest.mark.parametrize("vectors", [[{"column": "whole", "dtype": "float16"}, {"column": "codes", "dtype": "int8"}]])
def test_compact_columns(tmp_path: Path, corpus: Corpus, vectors: Any) -> None:
    rows = documents(9)
    corpus.write("a.jsonl", rows)
    sections: dict[str, Any] = {"output": {"vectors": vectors}}
    begin(tmp_path, **sections)
    corpus.write("a.jsonl", [changed(rows[0], text=rows[0]["text"] + " more words"), *rows[1:], *documents(2, first=40)])
    bring(tmp_path, clean=False, **sections)


def test_vectors_of_whole_texts_are_not_imported(tmp_path: Path, corpus: Corpus) -> None:
    corpus.write("a.jsonl", documents(2))
    begin(tmp_path)
    corpus.write("a.jsonl", documents(3))
    with pytest.raises(UsageError, match="vectors are of chunks: leave it out"):
        sync(settings(tmp_path), SyncOptions(imports=("vectors.parquet",)))
    assert bring(tmp_path).version == 2
