"""Every outcome of a sync that the design fixes (living-corpus.md 3.4), as a person meets it: exit code, and words that say what to do or what was kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from embermill.jobs.commands.answers_sync import show_sync
from tests.jobs.command_line import Answer, command
from tests.jobs.sync.corpus import Corpus, TellingEngine, live_rows, row, settings_of

OUT = 40  # rows of `embedded`


class Outcome(NamedTuple):
    """change: of the corpus. arguments: of `sync`. code, words: of the answer (of an error, else of the summary). rows: live ones afterwards."""

    change: Callable[[Corpus], object]
    arguments: tuple[str, ...]
    code: int
    words: tuple[str, ...]
    rows: int = OUT


def keys(**values: Any) -> tuple[str, ...]:
    return tuple(word for key, value in values.items() for word in ("--set", f"corpus.{key}={json.dumps(value)}"))


def drop_rows(corpus: Corpus) -> None:
    corpus.write("a.jsonl", corpus.files["a.jsonl"][5:])


def drop_file(corpus: Corpus) -> None:
    corpus.remove("b.jsonl")


def drop_all(corpus: Corpus) -> None:
    for name in [*corpus.files]:
        corpus.remove(name)


def refuse_a_row(corpus: Corpus) -> None:
    corpus.write("a.jsonl", corpus.files["a.jsonl"][1:], raw='{"id": "a0", "text": null}\n')


def repeat_an_id(corpus: Corpus) -> None:
    corpus.write("c.jsonl", [row("c0", "first"), row("c0", "second")])


def edit(corpus: Corpus) -> None:
    corpus.write("a.jsonl", [row("a0", "edited"), *corpus.files["a.jsonl"][1:]])


COMPLETE = keys(complete=True)
OUTCOMES = {
    "rows gone, and not said to be complete": Outcome(drop_rows, (), 0, ("5 rows kept, though no file gives them any more (corpus.complete: true",)),
    "a file gone, and not said to be complete": Outcome(drop_file, (), 0, ("1 gone", "20 rows kept", "corpus.complete")),
    "too many deletes": Outcome(drop_rows, COMPLETE, 3, ("5 of 40 rows would be deleted", "corpus.max_deleted_share: 0.05 allows 2", "--allow-deletes 5")),
    "so many allowed": Outcome(drop_rows, (*COMPLETE, "--allow-deletes", "5"), 0, ("5 deleted",), OUT - 5),
    "fewer allowed": Outcome(drop_rows, (*COMPLETE, "--allow-deletes", "4"), 3, ("--allow-deletes 4 allows no more", "--allow-deletes 5")),
    "an empty listing": Outcome(drop_all, (*COMPLETE, "--allow-deletes", "40"), 3, ("is deleted for an empty listing", "put the files back")),
    "a row refused now": Outcome(refuse_a_row, COMPLETE, 0, ("1 row kept as before, refused in its new form (corpus.on_refused_update)", "000002/")),
    "a row refused now, to be deleted": Outcome(refuse_a_row, keys(on_refused_update="delete"), 0, ("1 deleted",), OUT - 1),
    "too many refused": Outcome(refuse_a_row, keys(max_quarantined=0), 3, ("1 of the 20 rows", "corpus.max_quarantined: 0 allows 0", "Nothing was embedded")),
    "an id given twice": Outcome(repeat_an_id, (), 0, ("1 of them with an id that occurs earlier",), OUT + 1),
    "an id given twice, to fail": Outcome(repeat_an_id, keys(on_duplicate_id="fail"), 3, ("'c0'", "corpus.on_duplicate_id: quarantine")),
    "other kept columns": Outcome(edit, keys(keep_columns=[]), 2, ("corpus.keep_columns", "all 40 rows would be written anew (", "--reuse")),
    "another model": Outcome(edit, ("--set", "model.max_tokens=3"), 2, ("model.max_tokens", "choose another output.uri")),
    "another engine": Outcome(edit, ("--set", "model.engine=python:tests.jobs.word_engines:WordEngine"), 2, ("model.engine", "choose another output.uri")),
    "nothing changed": Outcome(lambda corpus: None, (), 0, ("version 1 is up to date: 2 files, none of them changed; 40 rows",)),
    "an edit": Outcome(edit, (), 0, ("version", "2, made from version 1", "1 with another text", "1 text")),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_outcome(tmp_path: Path, embedded: Corpus, name: str) -> None:
    outcome = OUTCOMES[name]
    job = tmp_path / "job.yaml"
    job.write_text(yaml.safe_dump(settings_of(tmp_path)))
    outcome.change(embedded)
    answer = command("sync", str(job), *outcome.arguments)
    said = answer.errors if outcome.code else show_sync(json.loads(answer.stdout))
    assert answer.code == outcome.code and all(words in said for words in outcome.words), said
    assert len(live_rows(str(tmp_path / "out"))) == outcome.rows
    if outcome.code:
        assert TellingEngine.taken() == [] and not (tmp_path / "out/_embermill/versions/000002.json").exists()


def test_a_corpus_that_was_moved(tmp_path: Path, embedded: Corpus) -> None:
    """Is refused where the dataset is, and what that advises takes the vectors along."""
    moved, job = tmp_path / "moved", tmp_path / "job.yaml"
    embedded.root.rename(moved)
    job.write_text(yaml.safe_dump(settings_of(tmp_path, corpus={"files": [str(moved / "*.jsonl")], "complete": True})))
    answer = command("sync", str(job))
    assert answer.code == 2 and "If the corpus was moved" in answer.errors and f"--reuse {tmp_path / 'out'}" in answer.errors
    anew = command("sync", str(job), "--set", f"output.uri={tmp_path / 'anew'}", "--reuse", str(tmp_path / "out"))
    assert (anew.code, anew["rows"], anew["texts_embedded"], TellingEngine.taken()) == (0, OUT, 0, []), anew.errors
    embedded.root.symlink_to(moved)
    assert command("sync", str(job), "--set", f"corpus.files=[{embedded.root}/*.jsonl]")["version"] == 1, "nothing has changed"


def test_positional_ids(tmp_path: Path, corpus: Corpus) -> None:
    corpus.write("a.jsonl", [{"text": "no id", "lang": "en"}])
    job = tmp_path / "job.yaml"
    job.write_text(yaml.safe_dump(settings_of(tmp_path)))
    for begun in (False, True):
        answer: Answer = command("sync", str(job))
        assert answer.code == 2 and "sync needs ids that stay with their rows" in answer.errors and "corpus.id_column" in answer.errors
        assert begun or command("run", str(job)).code == 0


def test_an_unreadable_file_among_good_ones(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name in "ab":
        rows = [row(f"{name}{n}", f"text {name} {n}") for n in range(20)]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    job = tmp_path / "job.yaml"
    job.write_text(yaml.safe_dump(settings_of(tmp_path, corpus={"files": [str(folder)], "complete": True})))
    assert command("run", str(job)).code == 0
    whole = (folder / "b.parquet").read_bytes()
    (folder / "b.parquet").write_bytes(whole[:-20])
    refused = command("sync", str(job))
    assert refused.code == 3 and "b.parquet" in refused.errors and "corpus.on_bad_file: quarantine" in refused.errors
    settings = keys(on_bad_file="quarantine", max_quarantined=1)
    answer = command("sync", str(job), *settings)
    assert (answer.code, answer["rows_stale"], answer["rows_quarantined"], answer["rows_deleted"]) == (0, 20, 1, 0), answer.errors
    assert "20 rows kept as before" in show_sync(json.loads(answer.stdout))
    assert len(live_rows(str(tmp_path / "out"))) == OUT
    (folder / "b.parquet").write_bytes(whole)
    assert command("sync", str(job))["rows"] == OUT
