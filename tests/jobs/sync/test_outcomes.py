"""What a sync refuses, keeps and counts: each outcome with its words and its error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq
import pytest

from embermill.jobs.config import JobConfig
from embermill.jobs.dataset.metadata.versions import read_versions
from embermill.jobs.errors import DataError, UsageError
from embermill.jobs.run import run
from embermill.jobs.storage import open_folder
from embermill.jobs.sync.job import SyncOptions, sync
from tests.jobs.sync.corpus import Corpus, TellingEngine, configure, live_rows, row

COMPLETE = {"complete": True}


def quarantined(root: Path, version: int) -> list[dict[str, Any]]:
    return [entry for path in sorted((root / f"out/quarantine/{version:06d}").iterdir()) for entry in pq.ParquetFile(path).read().to_pylist()]


class TestDeletes:
    def test_without_complete_nothing_is_deleted_and_it_is_counted(self, tmp_path: Path, embedded: Corpus) -> None:
        embedded.remove("a.jsonl")
        summary = sync(configure(tmp_path))
        assert (summary.rows_unseen, summary.rows_deleted, summary.rows, summary.files["gone"]) == (20, 0, 40, 1)
        assert len(live_rows(str(tmp_path / "out"))) == 40
        summary = sync(configure(tmp_path))
        assert summary.action == "nothing"

    def test_what_was_kept_is_deleted_once_the_corpus_is_said_to_be_complete(self, tmp_path: Path, embedded: Corpus) -> None:
        embedded.write("a.jsonl", embedded.files["a.jsonl"][1:])
        embedded.remove("b.jsonl")
        assert sync(configure(tmp_path)).rows_unseen == 21
        summary = sync(configure(tmp_path, corpus=COMPLETE), SyncOptions(allow_deletes=21))
        assert (summary.rows_deleted, summary.rows, summary.texts_embedded) == (21, 19, 0)
        assert live_rows(str(tmp_path / "out")).keys() == {f"a{n}" for n in range(1, 20)}

    def test_the_reasons(self, tmp_path: Path, embedded: Corpus) -> None:
        embedded.write("a.jsonl", embedded.files["a.jsonl"][1:])
        embedded.remove("b.jsonl")
        sync(configure(tmp_path, corpus=COMPLETE | {"max_deleted_share": 1}))
        deletes = pq.read_table(tmp_path / "out/changes/000002/deletes/part-000000000.parquet").to_pylist()
        assert [each["id"] for each in deletes] == sorted(["a0", *(f"b{n}" for n in range(20))])
        assert {each["id"]: each["reason"] for each in deletes}["a0"] == "deleted" and {each["reason"] for each in deletes[1:]} == {"source_gone"}
        assert {each["version"] for each in deletes} == {2}

    def test_too_many_are_refused_before_any_engine_works(self, tmp_path: Path, embedded: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
        embedded.write("a.jsonl", embedded.files["a.jsonl"][12:])
        monkeypatch.setattr("embermill.jobs.sync.stages.open_pool", lambda *_: pytest.fail("no engine is needed to see that"))
        with pytest.raises(DataError, match=r"12 of 40 rows would be deleted.*\(a\d.*, …\); corpus\.max_deleted_share: 0\.05 allows 2.*--allow-deletes 12"):
            sync(configure(tmp_path, corpus=COMPLETE))
        with pytest.raises(DataError, match="--allow-deletes 11 allows no more"):
            sync(configure(tmp_path, corpus=COMPLETE), SyncOptions(allow_deletes=11))
        assert len(read_versions(open_folder(str(tmp_path / "out")))) == 1 and len(live_rows(str(tmp_path / "out"))) == 40
        assert sync(configure(tmp_path, corpus=COMPLETE), SyncOptions(allow_deletes=12)).rows_deleted == 12

    def test_one_row_of_few_may_go_unless_none_may(self, tmp_path: Path, embedded: Corpus) -> None:
        embedded.write("a.jsonl", embedded.files["a.jsonl"][1:])
        with pytest.raises(DataError, match=r"1 of 40 rows would be deleted.*max_deleted_share: 0 allows 0"):
            sync(configure(tmp_path, corpus=COMPLETE | {"max_deleted_share": 0}))
        assert sync(configure(tmp_path, corpus=COMPLETE | {"max_deleted_share": 0.01})).rows_deleted == 1
        embedded.write("a.jsonl", embedded.files["a.jsonl"][2:])
        with pytest.raises(DataError, match=r"2 of 39 rows would be deleted.*max_deleted_share: 0\.01 allows 1\..*--allow-deletes 2"):
            sync(configure(tmp_path, corpus=COMPLETE | {"max_deleted_share": 0.01}))

    def test_an_empty_listing_is_always_refused(self, tmp_path: Path, embedded: Corpus) -> None:
        for name in [*embedded.files]:
            embedded.remove(name)
        with pytest.raises(DataError, match=r"matches no file.*nothing of .*/out is deleted for an empty listing"):
            sync(configure(tmp_path, corpus=COMPLETE | {"max_deleted_share": 1}), SyncOptions(allow_deletes=40))
        assert len(live_rows(str(tmp_path / "out"))) == 40


class TestRefusedRows:
    def test_a_row_that_was_good_and_is_refused_now_stays(self, tmp_path: Path, embedded: Corpus) -> None:
        rows = embedded.files["a.jsonl"]
        embedded.write("a.jsonl", rows[1:], raw=json.dumps({"id": "a0", "text": None}) + "\n")
        summary = sync(configure(tmp_path, corpus=COMPLETE))
        assert (summary.rows_stale, summary.rows_deleted, summary.rows_quarantined, summary.rows) == (1, 0, 1, 40)
        assert [(each["id"], each["reason"]) for each in quarantined(tmp_path, 2)] == [("a0", "null_text")]
        assert live_rows(str(tmp_path / "out"))["a0"]["text_hash"]

    def test_or_goes_where_that_is_said(self, tmp_path: Path, embedded: Corpus) -> None:
        embedded.write("a.jsonl", embedded.files["a.jsonl"][1:], raw=json.dumps({"id": "a0", "text": None}) + "\n")
        summary = sync(configure(tmp_path, corpus={"on_refused_update": "delete"}))
        assert (summary.rows_stale, summary.rows_deleted, summary.rows) == (0, 1, 39)

    def test_a_line_without_an_id_may_be_any_of_those_that_are_missing(self, tmp_path: Path, embedded: Corpus) -> None:
        embedded.write("a.jsonl", embedded.files["a.jsonl"][2:], raw='{"id": "a0", "te\n')
        summary = sync(configure(tmp_path, corpus=COMPLETE))
        assert (summary.rows_stale, summary.rows_deleted, summary.rows) == (2, 0, 40)

    def test_retry_quarantined_reads_files_again_that_did_not_change(self, tmp_path: Path, embedded: Corpus) -> None:
        embedded.write("a.jsonl", embedded.files["a.jsonl"], raw='{"id": "a20", "te\n')
        assert sync(configure(tmp_path)).rows_quarantined == 1
        assert sync(configure(tmp_path)).action == "nothing"
        summary = sync(configure(tmp_path), SyncOptions(retry_quarantined=True))
        assert (summary.files["same"], summary.files["scanned"], summary.rows_quarantined) == (2, 1, 1)

    def test_too_many_are_refused_before_any_engine_works(self, tmp_path: Path, embedded: Corpus) -> None:
        embedded.write("c.jsonl", [row("c", "new")], raw="{\n" * 12)
        with pytest.raises(DataError, match=r"12 of the 13 rows of new and changed files were quarantined, and corpus\.max_quarantined: 0\.01 allows 10"):
            sync(configure(tmp_path))
        assert not TellingEngine.taken()
        assert sync(configure(tmp_path, corpus={"max_quarantined": 12})).rows_new == 1


class TestOtherTypes:
    """What to do stands at the beginning, and can be done."""

    def test_a_kept_column_that_was_null_in_every_row(self, tmp_path: Path, corpus: Corpus) -> None:
        corpus.write("a.jsonl", [{"id": "a", "text": "one", "lang": None}])
        run(configure(tmp_path))
        corpus.write("a.jsonl", [{"id": "a", "text": "one", "lang": 3}])
        out, file = tmp_path / "out", tmp_path / "corpus/a.jsonl"
        with pytest.raises(DataError) as raised:
            sync(configure(tmp_path))
        advice = f"run `embermill sync` with corpus.on_schema_drift: cast, another output.uri and --reuse {out}, which takes the vectors from here"
        assert str(raised.value) == f"fix {file}, or {advice}: its column 'lang' has type int64, and this dataset has it as string"
        TellingEngine.taken()
        other = configure(tmp_path, "other", corpus={"on_schema_drift": "cast"})
        assert sync(other, SyncOptions(reuse=(str(out),))).vectors_copied == 1 and not TellingEngine.taken()

    def test_a_dataset_without_rows(self, tmp_path: Path, corpus: Corpus) -> None:
        corpus.write("a.jsonl", [])
        settings: dict[str, Any] = {"corpus": {"id_column": "id"}}
        run(configure(tmp_path, **settings))
        corpus.write("a.jsonl", [{"id": 1, "text": "one", "lang": "en"}])
        with pytest.raises(DataError, match=rf"fix .*/a\.jsonl, or remove {tmp_path}/out, which holds no row, and run again: its column 'id' has type int64"):
            sync(configure(tmp_path, **settings))
        shutil.rmtree(tmp_path / "out")
        assert sync(configure(tmp_path, **settings)).rows == 1


class TestEngineRefuses:
    POISONED: ClassVar[dict[str, Any]] = {"model": {"engine": "python:tests.jobs.sync.corpus:PoisonedEngine"}}

    def test_what_an_engine_fails_on_is_quarantined_with_all_rows_of_that_text(self, tmp_path: Path, corpus: Corpus) -> None:
        corpus.write("a.jsonl", [row(f"a{n}", f"text {n}") for n in range(20)])
        run(configure(tmp_path, **self.POISONED))
        TellingEngine.taken()
        rows = [row("a0", "poison"), *corpus.files["a.jsonl"][1:], row("b0", "poison"), row("b1", "good"), row("b2", "good", "de")]
        corpus.write("a.jsonl", rows)
        summary = sync(configure(tmp_path, **self.POISONED))
        live = live_rows(str(tmp_path / "out"))
        assert live.keys() == {*(f"a{n}" for n in range(20)), "b1", "b2"} and live["a0"]["version"] == 1
        assert (summary.rows, summary.rows_new, summary.rows_quarantined) == (22, 2, 2)
        assert sorted((each["id"], each["reason"], each["error"]) for each in quarantined(tmp_path, 2)) == [
            ("a0", "encoder_failed", "RuntimeError: poison"), ("b0", "encoder_failed", "RuntimeError: poison")
        ]  # fmt: skip
        assert live["b1"]["embedding"] == live["b2"]["embedding"] and sync(configure(tmp_path, **self.POISONED)).action == "nothing"
        again = sync(configure(tmp_path, **self.POISONED), SyncOptions(retry_quarantined=True))
        assert (again.files["scanned"], again.rows_quarantined, again.rows) == (1, 2, 22)


class TestDuplicates:
    def test_the_first_in_corpus_order_counts(self, tmp_path: Path, embedded: Corpus) -> None:
        embedded.write("c.jsonl", [row("c0", "first"), row("c0", "second"), row("a0", "not this one")])
        summary = sync(configure(tmp_path))
        assert (summary.rows_new, summary.rows_duplicate, summary.rows_quarantined) == (1, 2, 2) and TellingEngine.taken() == ["first"]
        assert sorted((each["id"], each["reason"]) for each in quarantined(tmp_path, 2)) == [("a0", "duplicate_id"), ("c0", "duplicate_id")]
        embedded.write("a.jsonl", embedded.files["a.jsonl"][1:])  # the row that was hidden comes forth, though its file did not change
        summary = sync(configure(tmp_path, corpus=COMPLETE))
        assert (summary.rows_deleted, summary.rows_changed) == (0, 1) and TellingEngine.taken() == ["not this one"]

    def test_an_earlier_file_wins_over_one_that_was_not_opened(self, tmp_path: Path, embedded: Corpus) -> None:
        embedded.write("0.jsonl", [row("b0", "earlier")])
        assert sync(configure(tmp_path)).rows_changed == 1
        embedded.write("0.jsonl", [row("x", "other")])
        summary = sync(configure(tmp_path, corpus=COMPLETE))
        assert (summary.rows_deleted, summary.rows_changed, summary.rows_new, summary.rows) == (0, 1, 1, 41)
        assert TellingEngine.taken() == ["earlier", "other", "text b 0"]  # a text that no live row has is not looked for

    def test_or_all_is_refused(self, tmp_path: Path, embedded: Corpus) -> None:
        embedded.write("c.jsonl", [row("c0", "first"), row("c0", "second")])
        with pytest.raises(DataError, match=r"1 row of the corpus has an id that occurs earlier: 'c0': remove it, or set .*on_duplicate_id: quarantine"):
            sync(configure(tmp_path, corpus={"on_duplicate_id": "fail"}))
        assert not TellingEngine.taken()


class TestSettings:
    def test_positional_ids_are_refused_before_anything_is_embedded(self, tmp_path: Path, corpus: Corpus) -> None:
        corpus.write("a.jsonl", [{"text": "no id", "lang": "en"}])
        for _ in range(2):
            with pytest.raises(UsageError, match=r"sync needs ids that stay with their rows.*corpus\.id_column"):
                sync(configure(tmp_path))
        assert not (tmp_path / "out").exists()
        run(configure(tmp_path))
        with pytest.raises(UsageError, match="sync needs ids"):
            sync(configure(tmp_path))

    def test_another_model_is_refused_with_the_keys(self, tmp_path: Path, embedded: Corpus) -> None:
        embedded.write("c.jsonl", [row("c0", "first")])
        with pytest.raises(UsageError, match=r"model\.max_tokens"):
            sync(configure(tmp_path, model={"max_tokens": 3}))

    def test_the_first_sync_is_a_run(self, tmp_path: Path, corpus: Corpus) -> None:
        corpus.write("a.jsonl", [row("a", "text")])
        summary = sync(configure(tmp_path))
        assert (summary.action, summary.version, summary.rows, summary.rows_new) == ("run", 1, 1, 1) and summary.run is not None
        assert sync(configure(tmp_path)).action == "nothing"

    def test_a_run_on_it_afterwards_leaves_it_as_it_is(self, tmp_path: Path, embedded: Corpus) -> None:
        embedded.write("c.jsonl", [row("c0", "first"), row("c0", "again")])
        sync(configure(tmp_path))
        before = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
        run(configure(tmp_path))
        assert sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file()) == before


def compacting(root: Path, share: float) -> JobConfig:
    config = configure(root)
    return config.model_copy(update={"output": config.output.model_copy(update={"compact_at": share})})


class TestCompactAt:
    CHANGED: ClassVar[list[Any]] = [row(f"a{n}", f"text a {n}" if n > 4 else f"another text {n}") for n in range(20)]

    def test_a_sync_compacts_once_as_much_has_changed(self, tmp_path: Path, embedded: Corpus) -> None:
        embedded.write("a.jsonl", self.CHANGED)
        assert sync(compacting(tmp_path, 0.2)).compacted is None, "5 rows of 40"
        embedded.write("b.jsonl", [*embedded.files["b.jsonl"][:17], *(row(f"b{n}", f"another text {n}") for n in range(17, 20))])
        summary = sync(compacting(tmp_path, 0.2))
        assert (summary.version, summary.compacted, summary.rows_changed) == (3, 4, 3)
        assert (tmp_path / "out/bases/000004").is_dir() and len(live_rows(str(tmp_path / "out"))) == 40
        again = sync(compacting(tmp_path, 0.2))
        assert (again.action, again.version, again.compacted) == ("nothing", 4, None)

    def test_whoever_was_killed_before_it_compacts_the_next_time(self, tmp_path: Path, embedded: Corpus) -> None:
        embedded.write("a.jsonl", self.CHANGED)
        assert sync(configure(tmp_path)).compacted is None, "never unless it is asked for"
        late = sync(compacting(tmp_path, 0.1))
        assert (late.action, late.compacted) == ("nothing", 3)
