"""More advice that is followed to the letter (test_advice.py has the cases of a first run): of versions, limits, events and strange names."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import embermill
from embermill.jobs.dataset.metadata.versions import UPSERTS, read_version
from embermill.jobs.storage import open_folder
from tests.jobs.command_line import Answer
from tests.jobs.sync.corpus import row
from tests.jobs.worked_on import inline_pools, make_changed

Embed = Callable[..., Answer]
Command = Callable[..., Answer]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five versions; its corpus has changed since."""
    return make_changed(tmp_path_factory.mktemp("made") / "versions").parent


@pytest.fixture
def versions(made: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy, whose job is job.yaml beside it."""
    copy = shutil.copytree(made / "out", tmp_path / "out")
    (tmp_path / "job.yaml").write_text((made / "out.yaml").read_text().replace(str(made / "out"), str(copy)))
    with inline_pools():
        yield copy


def corpus(folder: Path, **columns: Any) -> None:
    (folder / "corpus").mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), folder / "corpus/a.parquet")


FIRST_RUNS: dict[str, tuple[dict[str, Any], dict[str, Any], str, dict[str, Any], dict[str, Any]]] = {
    # columns and settings that are refused, the advice, and those that are not
    "a struct among the texts": (
        {"id": ["a"], "text": [{"title": "x"}]}, {}, "flatten the column in the corpus, or name another one", {"id": ["a"], "text": ["x"]}, {},
    ),
    "an id column that is called like ours": (
        {"embedding": ["a"], "text": ["x"]}, {"corpus": {"id_column": "embedding"}}, "rename it in the corpus",
        {"key": ["a"], "text": ["x"]}, {"corpus": {"id_column": "key"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIRST_RUNS)
def test_a_first_run(embed: Embed, tmp_path: Path, name: str) -> None:
    columns, settings, words, then, then_settings = FIRST_RUNS[name]
    corpus(tmp_path, **columns)
    refused = embed(**settings)
    assert refused.code in (2, 3) and words in refused.errors, refused.errors
    corpus(tmp_path, **then)
    helped = embed(**then_settings)
    assert helped.code == 0, helped.errors


NAMES = {"a file whose name is no text": (b"corpus/b\xff.parquet", "corpus/b.parquet")}


def test_a_file_is_renamed(embed: Embed, tmp_path: Path) -> None:
    corpus(tmp_path, id=["a"], text=["x"])
    strange, plain = NAMES["a file whose name is no text"]
    path = os.fsencode(tmp_path) + b"/" + strange
    shutil.copy(os.fsencode(tmp_path / "corpus/a.parquet"), path)
    refused = embed()
    assert refused.code == 2 and "rename the file" in refused.errors, refused.errors
    os.rename(path, tmp_path / plain)  # noqa: PTH104 - its name is bytes
    assert embed(corpus={"id_column": None}).code == 0


def test_a_file_of_somebody_else_in_data(embed: Embed, tmp_path: Path) -> None:
    corpus(tmp_path, id=["a"], text=["x"])
    output = embed().output
    shutil.copy(tmp_path / "corpus/a.parquet", output / "data/notes.parquet")
    refused = embed()
    assert refused.code == 3 and "move what is not ours out of data/ and quarantine/, and run again" in refused.errors, refused.errors
    (output / "data/notes.parquet").rename(tmp_path / "notes.parquet")
    assert embed().code == 0


def test_a_dataset_of_the_first_rows_is_made_anew(embed: Embed, command: Command, tmp_path: Path) -> None:
    corpus(tmp_path, id=["a", "b"], text=["x", "y"])
    job = str(embed().output) + ".yaml"
    limited = command("run", job, "--limit", "1")
    assert limited.code == 0, limited.errors
    refused = command("redrive", limited["output"])
    assert refused.code == 2 and "remove it, and run again with --limit" in refused.errors, refused.errors
    shutil.rmtree(limited["output"])
    assert command("run", job, "--limit", "2")["rows_in"] == 2


def test_events_go_to_a_folder_that_is_there(embed: Embed, command: Command, tmp_path: Path) -> None:
    corpus(tmp_path, id=["a"], text=["x"])
    job = str(embed(output="first").output) + ".yaml"
    refused = command("run", job, "--events", str(tmp_path / "none/events.jsonl"))
    assert refused.code == 2 and "name a file in a folder that is there" in refused.errors, refused.errors
    assert command("run", job, "--events", str(tmp_path / "events.jsonl")).code == 0
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 1


def test_with_a_lost_file_of_a_later_version_earlier_ones_are_read(versions: Path, command: Command) -> None:
    """`files` says what a version needs."""
    folder = open_folder(str(versions))
    newest, older = read_version(folder), read_version(folder, 4)
    lost = next(file.name for file in newest.of_kind(UPSERTS) if file.version == newest.number)
    (versions / lost).unlink()
    found = command("verify", str(versions))
    assert found.code == 3 and lost in found.errors and "Versions that do not need it can still be read" in found.errors
    assert lost not in {file["name"] for file in command("files", str(versions), "--version", "4")["files"]}
    assert sum(batch.num_rows for batch in embermill.open_dataset(str(versions), version=4)) == older.totals["rows"]


def test_a_lost_listing_is_read_anew(versions: Path, command: Command, tmp_path: Path) -> None:
    """Without an intact copy nothing says what the newest version has seen of the corpus, so a sync reads all of it."""
    lost = read_version(open_folder(str(versions))).details["inputs"]["file"]
    (versions / lost).unlink()
    for copy in (versions / "_embermill/versions/copies").glob(Path(lost).name):
        copy.unlink()
    refused = command("sync", str(tmp_path / "job.yaml"))
    assert refused.code == 3 and "`embermill sync --rescan` reads every file again" in refused.errors, refused.errors
    answer = command("sync", str(tmp_path / "job.yaml"), "--rescan")
    assert answer.code == 0 and answer["rows_new"] == 2, answer.errors
    again = command("sync", str(tmp_path / "job.yaml"))
    assert again.code == 0 and again["rows"] == answer["rows"] and not again["rows_deleted"] and not again["rows_new"], again.stdout
    assert command("verify", str(versions)).code == 0


def test_a_damaged_claim_of_an_undecided_version(versions: Path, command: Command, tmp_path: Path) -> None:
    number = read_version(open_folder(str(versions))).number + 1
    claim = versions / f"_embermill/claims/{number:06d}.json"
    claim.write_text(json.dumps(row("not", "a claim")))
    refused = command("sync", str(tmp_path / "job.yaml"))
    assert refused.code == 3 and "Move it away: it only says what was being made" in refused.errors, refused.errors
    claim.rename(tmp_path / "claim.json")
    answer = command("sync", str(tmp_path / "job.yaml"))
    assert answer.code == 0 and answer["version"] == number, answer.errors
