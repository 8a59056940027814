"""Small datasets that much was done to: one that `redrive` and `gc` have gone over, and one of several versions. For tests that damage every kind of file."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from tests.jobs.command_line import Answer, command, open_inline_pool, run
from tests.jobs.crashes.scenarios import collect_in_two_days
from tests.jobs.sync.corpus import Corpus, Row, row

BAD_ROWS = 12  # more than corpus.max_quarantined lets through, whatever its share


@contextlib.contextmanager
def inline_pools() -> Iterator[None]:
    """Workers of commands are in this process."""
    with mock.patch("embermill.jobs.run.open_pool", open_inline_pool), mock.patch("embermill.jobs.sync.stages.open_pool", open_inline_pool):
        yield


def make_redriven(folder: Path) -> Path:
    """Unfinished because of refused rows, most of which were corrected; read again, and cleared of what that left."""
    corpus = Corpus(folder / "corpus")
    rows = [row(f"r{number}", f"text {number}") for number in range(30)]
    corpus.write("a.jsonl", rows[:10])
    corpus.write("b.jsonl", rows[10:], raw="{\n" * BAD_ROWS)
    read = {"files": [str(folder / "corpus/*.jsonl")], "partition_text_bytes": 60}
    with inline_pools():
        assert run(folder, corpus=read, output_section={"shard_bytes": 600}).code == 3
        corpus.write("b.jsonl", [*rows[10:], *(row(f"late{number}", f"late text {number}") for number in range(BAD_ROWS - 1))], raw="{\n")
        _right(command("redrive", str(folder / "out")))
    collect_in_two_days(str(folder / "out"))
    return folder / "out"


def make_versions(folder: Path) -> Path:
    """Of a run, two syncs with edits, deletes and refused rows, a base that `compact` made, and one more sync. Its job is {dataset}.yaml beside it."""
    corpus = Corpus(folder / "corpus")
    read = {
        "files": [str(folder / "corpus/*.jsonl")], "id_column": "id", "keep_columns": ["lang"], "partition_text_bytes": 200, "complete": True,
        "max_deleted_share": 0.5,
    }  # fmt: skip
    rows = {name: [row(f"{name}{number}", f"text {name} {number}") for number in range(10)] for name in "ab"}
    job = str(folder / "out.yaml")
    with inline_pools():
        for name in "ab":
            corpus.write(f"{name}.jsonl", rows[name], raw="{\n")
        _right(run(folder, corpus=read, output_section={"shard_bytes": 1500}))
        corpus.write("a.jsonl", _edited(rows["a"], 1))
        _right(command("sync", job))
        corpus.write("b.jsonl", _edited(rows["b"], 2)[:7], raw="{\n")
        corpus.write("c.jsonl", [row("c0", "text a 3"), row("c1", "another text")])
        _right(command("sync", job))
        _right(command("compact", str(folder / "out")))
        corpus.write("a.jsonl", _edited(rows["a"], 3)[2:])
        _right(command("sync", job))
    return folder / "out"


def make_changed(folder: Path) -> Path:
    """The same, and its corpus changed since."""
    dataset = make_versions(folder)
    (folder / "corpus/d.jsonl").write_text(json.dumps(row("d0", "a later text")) + "\n" + json.dumps(row("d1", "text b 3")) + "\n")
    return dataset


def _edited(rows: list[Row], time: int) -> list[Row]:
    """One with another text, one with another kept column, one new."""
    first, second, *others = rows
    return [first | {"text": f"edited {time}"}, second | {"lang": f"l{time}"}, *others, row(f"new{time}-{first['id']}", f"new text {time}")]


def _right(answer: Answer) -> None:
    assert answer.code == 0, f"exit {answer.code}: {answer.errors}"
    json.loads(answer.stdout)
