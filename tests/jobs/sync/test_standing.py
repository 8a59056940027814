"""Where a dataset is not as its corpus is, every sync and `status` say so, and not the one sync alone that found it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from embermill.jobs.commands.answers import show_status
from embermill.jobs.commands.answers_sync import show_sync
from tests.jobs.command_line import Answer, command
from tests.jobs.sync.corpus import Corpus, row, settings_of

STALE = "1 row kept as before, refused in its new form"
REFUSED = "1 row of the corpus, as syncs have read its files"
UNSEEN = "2 rows kept, though no file gives them any more"


class Job:
    def __init__(self, folder: Path, **corpus: Any) -> None:
        self.file, self.output = folder / "job.yaml", str(folder / "out")
        self.file.write_text(yaml.safe_dump(settings_of(folder, corpus=corpus)))

    def sync(self, *arguments: str) -> Answer:
        answer = command("sync", str(self.file), *arguments)
        assert answer.code == 0, answer.errors
        return answer

    def standing(self, command_: str = "status") -> tuple[int, int, int]:
        """(unseen, stale, refused), as both commands have them."""
        told, idle = command("status", self.output)["standing"], self.sync()
        assert idle["action"] == "nothing" and [idle[f"rows_{kind}"] for kind in ("unseen", "stale", "refused")] == [*told.values()]
        return told["unseen"], told["stale"], told["refused"]

    def words(self) -> list[str]:
        return [show_sync(json.loads(self.sync().stdout)), show_status(json.loads(command("status", self.output).stdout))]


@pytest.fixture
def refused(embedded: Corpus, tmp_path: Path) -> Corpus:
    """a0 is refused now, and stays as it was."""
    embedded.write("a.jsonl", embedded.files["a.jsonl"][1:], raw='{"id": "a0", "text": null}\n')
    assert Job(tmp_path).sync()["rows_stale"] == 1
    return embedded


def test_a_stale_row_is_told_until_it_is_good(refused: Corpus, tmp_path: Path) -> None:
    job = Job(tmp_path)
    assert job.standing() == (0, 1, 1)
    assert all(STALE in words and REFUSED in words for words in job.words())
    refused.write("c.jsonl", [row("c0", "elsewhere")])
    other = job.sync()
    assert (other["rows_new"], other["rows_stale"], other["rows_quarantined"]) == (1, 1, 0) and STALE in show_sync(json.loads(other.stdout))
    for number, (name, arguments) in enumerate((("compact", ()), ("rollback", ("--to", "2")))):
        assert command(name, job.output, *arguments)["version"] == 4 + number
        assert command("status", job.output)["standing"] == {"unseen": 0, "stale": 1, "refused": 1}
    job.sync()
    refused.write("a.jsonl", [row("a0", "good again"), *refused.files["a.jsonl"]])
    assert job.sync()["rows_stale"] == 0 and job.standing() == (0, 0, 0)
    assert not any(words in told for told in job.words() for words in (STALE, REFUSED))


def test_a_stale_row_whose_file_is_gone_is_unseen(refused: Corpus, tmp_path: Path) -> None:
    refused.remove("a.jsonl")
    job = Job(tmp_path)
    job.sync()
    assert job.standing() == (20, 0, 0)


def test_rows_that_no_file_gives_are_told(embedded: Corpus, tmp_path: Path) -> None:
    embedded.write("a.jsonl", embedded.files["a.jsonl"][2:])
    job = Job(tmp_path)
    assert job.sync()["rows_unseen"] == 2 and job.standing() == (2, 0, 0)
    assert all(UNSEEN in words for words in job.words())
    assert command("rollback", job.output, "--to", "1")["version"] is None, "no row differs"
    assert Job(tmp_path, complete=True).sync()["rows_deleted"] == 2


def test_a_dataset_that_was_made_before_has_what_its_sync_counted(refused: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused.write("c.jsonl", [row("c0", "a")], raw='{"id": "a1", "text": null}\n')
    monkeypatch.setattr("embermill.jobs.sync.stages.standing_now", lambda counts, stale: {})
    refused.write("a.jsonl", refused.files["a.jsonl"], raw='{"id": "a0", "text": null}\n')
    Job(tmp_path).sync()
    assert command("status", str(tmp_path / "out"))["standing"] == {"unseen": 0, "stale": 1, "refused": 0}
