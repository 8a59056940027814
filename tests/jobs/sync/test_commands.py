"""`sync` and `plan` as a person meets them: arguments, answers, words and exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from embermill.jobs.commands.answers import show_plan, show_status
from embermill.jobs.commands.answers_run import show_run
from embermill.jobs.commands.answers_sync import show_sync
from embermill.jobs.engine import Output, Preview
from tests.jobs.command_line import Answer, command
from tests.jobs.sync.corpus import Corpus, TellingEngine, row, settings_of


@pytest.fixture
def job(tmp_path: Path, corpus: Corpus) -> str:
    """A configuration; its dataset stands, and then its corpus changed."""
    for name in "ab":
        corpus.write(f"{name}.jsonl", [row(f"{name}{n}", f"text {name} {n}") for n in range(20)])
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(settings_of(tmp_path, corpus={"complete": True})))
    first = command("sync", str(path))
    assert first.code == 0 and first["action"] == "run", first.errors
    rows = corpus.files["a.jsonl"]
    corpus.write("a.jsonl", [row("a0", "edited"), row("a1", "text a 1", "de"), *rows[3:], row("z", "text b 3"), row("b1", "twice")])
    TellingEngine.taken()
    return str(path)


def words(show: Any, answer: Answer) -> str:
    return str(show(json.loads(answer.stdout)))


def test_plan_tells_what_a_sync_would_do_and_writes_nothing(job: str, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    answer = command("plan", job, "--tokens-per-s", "10")
    assert answer.code == 0, answer.errors
    told = answer["sync"]
    assert told["rows"] == {
        "new": 1, "changed": 2, "metadata": 1, "moved": 0, "deleted": 1, "unseen": 0, "stale": 0, "duplicate": 0, "refused": 0, "unchanged": 17,
    }  # fmt: skip
    assert (told["texts_to_embed"], told["vectors_to_copy"], told["files"]["changed"], told["files"]["scanned"]) == (2, 2, 1, 1)
    assert told["seconds"] == told["tokens"] / 10
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before and not TellingEngine.taken()
    shown = words(show_plan, answer)
    assert "A sync would do this:" in shown and "1 with other kept columns alone" in shown and "2 texts, about" in shown
    quick = command("plan", job, "--quick")
    assert quick["sync"]["rows"] is None and "--quick" in words(show_plan, quick) and quick["sync"]["files"] == told["files"]


@pytest.mark.parametrize("words_each", [3, 400], ids=["short", "long"])
def test_plan_counts_the_tokens_of_the_texts_that_changed(tmp_path: Path, corpus: Corpus, words_each: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not those of an average row: what is added may be of another kind."""

    def preview(model: object, device: str) -> Preview:
        return Preview((Output("embedding", "dense", "float32", 8),), lambda texts: np.array([len(text.split()) for text in texts]))

    monkeypatch.setattr(TellingEngine, "preview", preview, raising=False)
    corpus.write("a.jsonl", [row(f"a{n}", " ".join(["word"] * 40)) for n in range(60)])
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(settings_of(tmp_path, corpus={"partition_text_bytes": 4000})))
    assert command("run", str(path)).code == 0
    corpus.write("a.jsonl", [*corpus.files["a.jsonl"], *(row(f"n{n}", f"{n} " + " ".join(["new"] * words_each)) for n in range(20))])
    told = command("plan", str(path))["sync"]
    done = command("sync", str(path))
    assert (told["tokens"], told["texts_to_embed"]) == (done["tokens_embedded"], done["texts_embedded"]) == (20 * (words_each + 1), 20)


def test_sync_says_what_it_did_and_run_and_status_what_is_to_be_done(job: str, tmp_path: Path) -> None:
    run = command("run", job)
    assert run.code == 0 and (run["corpus"]["changed"], run["corpus"]["new"]) == (1, 0)
    assert "1 file changed since version 1" in words(show_run, run)
    assert "1 file changed since version 1" in words(show_status, command("status", str(tmp_path / "out")))
    events = tmp_path / "events.jsonl"
    answer = command("sync", job, "--events", str(events))
    assert answer.code == 0 and (answer["version"], answer["texts_embedded"], answer["rows_deleted"]) == (2, 2, 1), answer.errors
    shown = words(show_sync, answer)
    for part in ("2, made from version 1", "1 changed, 1 unchanged; 1 read", "with other kept columns", "1 deleted", "2 texts"):
        assert part in shown, shown
    again = command("sync", job, "--events", str(events))
    told = [*map(json.loads, events.read_text().splitlines())]
    keys = ("event", "version", "action", "rows_deleted", "texts_embedded")
    assert [tuple(line[key] for key in keys) for line in told] == [("sync", 2, "committed", 1, 2), ("sync", 2, "nothing", 0, 0)]
    counts = command("status", str(tmp_path / "out"))["version_counts"]
    assert all(counts[name] == told[0][name] for name in ("rows_deleted", "rows_stale", "rows_unseen", "rows_quarantined", "tokens_embedded"))
    assert again["action"] == "nothing" and "version 2 is up to date: 2 files, none of them changed" in words(show_sync, again)
    assert command("run", job)["corpus"]["changed"] == 0 and command("status", str(tmp_path / "out"))["corpus"] is None


def test_run_after_a_sync_says_what_is_there(job: str, tmp_path: Path) -> None:
    """And what to do, which is done: the rows of version 1 are nobody's business any more."""
    synced = command("sync", job)
    run = command("run", job)
    assert (run.code, run["version"], run["version_cause"], run["live_rows"]) == (0, 2, "sync", synced["rows"]) and run["rows_out"] == 40
    shown = words(show_run, run)
    assert shown.startswith(f"{tmp_path}/out is at version 2, made by sync on ") and f": {synced['rows']} rows\n" in shown and "is complete" not in shown
    assert "`embermill sync CONFIG` embeds what has changed" in shown and command("sync", job)["action"] == "nothing"
    assert f"{synced['rows']} rows in version 2" in words(show_plan, command("plan", job))
    status = words(show_status, command("status", str(tmp_path / "out")))
    assert "version     2 by sync" in status and "first run   rows 40 in = 40 out + 0 quarantined: what version 1 held" in status


def test_exit_codes(job: str, tmp_path: Path, corpus: Corpus) -> None:
    corpus.write("a.jsonl", [row("a0", "text a 0")])
    planned = command("plan", job)
    assert planned.code == 0 and "--allow-deletes 19" in planned["sync"]["refusal"]
    assert "a sync would end with exit code 3" in words(show_plan, planned)
    refused = command("sync", job)
    assert refused.code == 3 and planned["sync"]["refusal"] in refused.errors and "--allow-deletes 19" in refused.errors
    assert command("sync", job, "--allow-deletes", "0").code == 2 and command("sync", job, "--reuse", str(tmp_path)).code == 2
    assert command("sync", job, "--allow-deletes", "19")["rows_deleted"] == 19
    assert command("sync", job, "--set", "model.max_tokens=3").code == 2
    for path in (tmp_path / "corpus").iterdir():
        path.unlink()
    assert command("sync", job).code == 3
