"""`sync` from the configuration to the version: what is embedded, what is copied, what is opened, and what the rows are afterwards."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from embermill.jobs.errors import UsageError
from embermill.jobs.run import run
from embermill.jobs.storage import open_folder
from embermill.jobs.sync.job import SyncOptions, sync
from embermill.jobs.sync.summary import SyncSummary
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


def texts_of(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(each["text"] for each in rows)


class TestRows:
    def test_each_kind_of_change_at_once(self, tmp_path: Path, corpus: Corpus) -> None:
        begin(tmp_path, corpus)
        a, b = corpus.files["a.jsonl"], corpus.files["b.jsonl"]
        corpus.write("a.jsonl", [row("new", "a new text"), *a[1:5], row("a5", "edited"), row("a6", "text a 6", "de"), *a[7:]])
        summary = sync(configure(tmp_path, corpus={"complete": True, "max_deleted_share": 0.1}))
        assert TellingEngine.taken() == ["a new text", "edited"]
        told = (summary.rows_new, summary.rows_changed, summary.rows_metadata, summary.rows_deleted, summary.rows_moved, summary.vectors_copied)
        assert told == (1, 1, 1, 1, 0, 1) and summary.rows_unchanged == 37 and len(b) == 20
        check(tmp_path, corpus, summary)

    def test_a_new_file_of_which_everything_is_embedded(self, tmp_path: Path, corpus: Corpus) -> None:
        begin(tmp_path, corpus)
        corpus.write("c.jsonl", added := [row(f"c{n}", f"text c {n}") for n in range(90)])
        summary = sync(configure(tmp_path))
        assert (summary.rows_new, summary.files["new"], summary.files["scanned"]) == (90, 1, 1) and TellingEngine.taken() == texts_of(added)
        check(tmp_path, corpus, summary)

    def test_files_rewritten_in_other_order_under_other_names(self, tmp_path: Path, corpus: Corpus) -> None:
        begin(tmp_path, corpus)
        rows = [each for name in [*corpus.files] for each in corpus.files[name]]
        for name in [*corpus.files]:
            corpus.remove(name)
        corpus.write("x.jsonl", rows[::-1][:25])
        corpus.write("y.jsonl", rows[::-1][25:])
        summary = sync(configure(tmp_path, corpus={"complete": True}))
        assert (summary.texts_embedded, summary.vectors_copied, summary.rows_moved, summary.rows_deleted) == (0, 0, 40, 0)
        assert not TellingEngine.taken() and not list((tmp_path / "out/changes").rglob("*.parquet"))
        check(tmp_path, corpus, summary)

    def test_an_id_that_moves_between_files(self, tmp_path: Path, corpus: Corpus) -> None:
        begin(tmp_path, corpus)
        a, b = corpus.files["a.jsonl"], corpus.files["b.jsonl"]
        corpus.write("a.jsonl", a[1:])
        corpus.write("b.jsonl", [*b, a[0]])
        summary = sync(configure(tmp_path, corpus={"complete": True}))
        assert (summary.texts_embedded, summary.vectors_copied, summary.rows_moved, summary.rows_deleted) == (0, 0, 1, 0)
        corpus.remove("a.jsonl")  # and it is known to be in the other file from now on
        summary = sync(configure(tmp_path, corpus={"complete": True, "max_deleted_share": 1}))
        assert summary.rows_deleted == 19 and not TellingEngine.taken()
        check(tmp_path, corpus, summary)

    def test_many_new_ids_with_one_text_embed_it_once(self, tmp_path: Path, corpus: Corpus) -> None:
        begin(tmp_path, corpus)
        corpus.write("c.jsonl", [row(f"c{n}", "the same text", lang=f"l{n}") for n in range(1000)])
        summary = sync(configure(tmp_path))
        assert (summary.rows_new, summary.texts_embedded, summary.vectors_copied) == (1000, 1, 999) and TellingEngine.taken() == ["the same text"]
        check(tmp_path, corpus, summary)

    def test_ids_renamed_texts_kept(self, tmp_path: Path, corpus: Corpus) -> None:
        begin(tmp_path, corpus)
        corpus.write("a.jsonl", [row(f"other{n}", f"text a {n}") for n in range(20)])
        summary = sync(configure(tmp_path, corpus={"complete": True, "max_deleted_share": 0.5}))
        assert (summary.rows_new, summary.rows_deleted, summary.texts_embedded, summary.vectors_copied) == (20, 20, 0, 20)
        assert not TellingEngine.taken()
        check(tmp_path, corpus, summary)

    def test_versions_follow_versions(self, tmp_path: Path, corpus: Corpus) -> None:
        begin(tmp_path, corpus)
        for number in range(2, 6):
            rows = [each for each in corpus.files["a.jsonl"] if each["id"] != "a15"]
            corpus.write("a.jsonl", [*rows[1:10], row(f"v{number}", f"text of version {number}"), row("a15", f"again {number}"), *rows[12:]])
            summary = sync(configure(tmp_path, corpus={"complete": True, "max_deleted_share": 1}))
            assert summary.version == number
            check(tmp_path, corpus, summary)
        corpus.write("a.jsonl", [row(f"a{n}", f"text a {n}") for n in range(20)])  # deleted ids come back
        TellingEngine.taken()
        summary = sync(configure(tmp_path, corpus={"complete": True, "max_deleted_share": 1}))
        check(tmp_path, corpus, summary)
        assert live_rows(str(tmp_path / "out"), 1).keys() == {f"{name}{n}" for name in "ab" for n in range(20)}

    def test_integer_ids_and_no_kept_columns(self, tmp_path: Path, corpus: Corpus) -> None:
        corpus.write("a.jsonl", [{"id": n, "text": f"text {n}"} for n in range(30)])
        run(configure(tmp_path, corpus={"keep_columns": []}))
        TellingEngine.taken()
        corpus.write("a.jsonl", [{"id": n, "text": f"text {n}" if n != 7 else "edited"} for n in range(1, 31)])
        summary = sync(configure(tmp_path, corpus={"keep_columns": [], "complete": True}))
        assert (summary.rows_new, summary.rows_changed, summary.rows_deleted) == (1, 1, 1) and TellingEngine.taken() == ["edited", "text 30"]
        assert live_rows(str(tmp_path / "out")).keys() == set(range(1, 31))


class TestWhatIsOpened:
    def opened(self, monkeypatch: pytest.MonkeyPatch) -> set[str]:
        """Names of the corpus files that are opened from now on."""
        from embermill.jobs.corpus import reading
        from embermill.jobs.plan import listing

        seen: set[str] = set()
        for module in (reading, listing):
            real = module.open_input

            def spy(path: str, size: int, version: str, real: Any = real) -> Any:
                seen.add(Path(path).name)
                return real(path, size, version)

            monkeypatch.setattr(module, "open_input", spy)
        return seen

    def test_only_what_changed_and_of_the_rest_nothing(self, tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
        begin(tmp_path, corpus)
        seen = self.opened(monkeypatch)
        corpus.write("b.jsonl", [*corpus.files["b.jsonl"], row("b20", "one more")])
        sync(configure(tmp_path))
        assert seen == {"b.jsonl"}

    def test_nothing_where_nothing_changed_and_no_worker_starts(self, tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
        begin(tmp_path, corpus)
        seen = self.opened(monkeypatch)
        monkeypatch.setattr("embermill.jobs.sync.job.Stages", lambda *_: pytest.fail("there is nothing to do"))
        monkeypatch.setattr("embermill.jobs.sync.job.hold_lease", lambda *_, **__: pytest.fail("there is nothing to write"))
        before = sorted(tmp_path.rglob("out/**"))
        summary = sync(configure(tmp_path))
        assert (summary.action, summary.version, summary.files["same"], summary.rows) == ("nothing", 1, 2, 40)
        assert not seen and sorted(tmp_path.rglob("out/**")) == before

    def test_an_edit_that_keeps_size_and_time_is_found(self, tmp_path: Path, corpus: Corpus) -> None:
        begin(tmp_path, corpus)
        at_s = (tmp_path / "corpus/a.jsonl").stat().st_mtime
        corpus.write("a.jsonl", [row("a0", "TEXT a 0"), *corpus.files["a.jsonl"][1:]], at_s=at_s)
        assert sync(configure(tmp_path)).rows_changed == 1 and TellingEngine.taken() == ["TEXT a 0"]

    def test_a_file_written_as_it_was_listed_is_read_again(self, tmp_path: Path, corpus: Corpus) -> None:
        corpus.write("a.jsonl", [row("a", "text")], at_s=time.time())
        run(configure(tmp_path))
        summary = sync(configure(tmp_path))
        assert (summary.files["changed"], summary.files["scanned"], summary.texts_embedded, summary.rows_unchanged) == (1, 1, 0, 1)

    def test_and_once_it_was_listed_long_enough_after_it_was_written_no_more(
        self, tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written_s = time.time()
        corpus.write("a.jsonl", [row("a", "text")], at_s=written_s)
        run(configure(tmp_path))
        seen = self.opened(monkeypatch)
        for after_s, opened in ((1, True), (60, True), (61, False)):
            monkeypatch.setattr(time, "time", lambda: written_s + after_s)  # noqa: B023
            seen.clear()
            assert sync(configure(tmp_path)).action == "nothing" and bool(seen) == opened
        monkeypatch.undo()
        corpus.write("a.jsonl", [row("a", "TEXT")], at_s=written_s)
        assert sync(configure(tmp_path)).rows_changed == 1, "its inode's time is another"

    def test_rescan_believes_nothing(self, tmp_path: Path, corpus: Corpus) -> None:
        begin(tmp_path, corpus)
        summary = sync(configure(tmp_path), SyncOptions(rescan=True))
        assert (summary.files["same"], summary.files["scanned"], summary.rows_unchanged, summary.texts_embedded) == (2, 2, 40, 0)


class TestKnownTexts:
    def test_of_another_dataset(self, tmp_path: Path, corpus: Corpus) -> None:
        begin(tmp_path, corpus)
        corpus.write("c.jsonl", [row(f"c{n}", f"text c {n}") for n in range(30)])
        run(configure(tmp_path, "other"))
        corpus.write("d.jsonl", [row("d", "known nowhere")])
        TellingEngine.taken()
        summary = sync(configure(tmp_path), SyncOptions(reuse=(str(tmp_path / "other"),)))
        assert (summary.texts_embedded, summary.vectors_copied) == (1, 30) and TellingEngine.taken() == ["known nowhere"]
        check(tmp_path, corpus, summary)

    def test_of_a_dataset_of_another_model_none(self, tmp_path: Path, corpus: Corpus) -> None:
        begin(tmp_path, corpus)
        run(configure(tmp_path, "other", model={"max_tokens": 2}))
        corpus.write("c.jsonl", [row("c", "text c")])
        with pytest.raises(UsageError, match=r"--reuse .*model\.max_tokens"):
            sync(configure(tmp_path), SyncOptions(reuse=(str(tmp_path / "other"),)))


class TestObjectStore:
    def test_a_rename_is_not_opened(self, s3_folder_url: str, put_object: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        url = s3_folder_url
        rows = {name: "".join(json.dumps(row(f"{name}{n}", f"text {name} {n}")) + "\n" for n in range(9)).encode() for name in "abc"}
        for name in "ab":
            put_object(f"{url}/corpus/{name}.jsonl", rows[name])
        config = configure(tmp_path, f"{url}/out", corpus={"files": [f"{url}/corpus/*.jsonl"], "complete": True})
        run(config)
        assert TellingEngine.taken() and sync(config).action == "nothing"
        put_object(f"{url}/corpus/c.jsonl", rows["c"])
        put_object(f"{url}/corpus/new name.jsonl", rows["b"])
        open_folder(f"{url}/corpus").remove("b.jsonl")
        seen = TestWhatIsOpened().opened(monkeypatch)
        summary = sync(config)
        assert (summary.files["renamed"], summary.files["new"], summary.files["gone"], summary.rows_new, summary.rows_deleted) == (1, 1, 0, 9, 0)
        assert seen == {"c.jsonl"} and TellingEngine.taken() == sorted(f"text c {n}" for n in range(9)) and len(live_rows(f"{url}/out")) == 27
        open_folder(f"{url}/corpus").remove("new name.jsonl")
        summary = sync(config, SyncOptions(allow_deletes=9))
        assert summary.rows_deleted == 9 and live_rows(f"{url}/out").keys() == {f"{name}{n}" for name in "ac" for n in range(9)}
