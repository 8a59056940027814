"""What `run` found is said in its summary, in --json and in `status`; and `status` looks whether the shards are there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.commands.answers import show_status
from embermill.jobs.commands.answers_run import show_run
from tests.jobs.command_line import Answer

Embed = Callable[..., Answer]
Command = Callable[..., Answer]


def write(path: Path, ids: list[str], texts: list[str]) -> None:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"id": ids, "text": texts}), path)


def test_duplicates_empty_texts_and_cut_rows(embed: Embed, command: Command, tmp_path: Path) -> None:
    write(tmp_path / "corpus/a.parquet", ["a", "b", "a", "c", "b", "a"], ["x", "", "y", "word " * 20, "z", ""])
    answer = embed(model={"max_tokens": 10})
    expected = {"duplicate_ids": 2, "duplicate_rows": 3, "empty_texts": 2, "files_changed": 0, "files_gone": 0}
    assert (answer.code, answer["findings"], answer["rows_truncated"]) == (0, expected, 1), answer.errors
    words = show_run(json.loads(answer.stdout))
    assert "2 ids that several rows have (`embermill verify` names them); 2 empty texts embedded like any other" in words and "from 1 row too long" in words
    status = command("status", str(answer.output))
    assert status["findings"] == expected and "2 ids that several rows have" in show_status(json.loads(status.stdout))
    assert embed(model={"max_tokens": 10})["findings"] == expected, "a run that had nothing left to do says it again"
    verified = command("verify", str(answer.output))
    assert verified.code == 3 and (verified["duplicate_ids"], verified["duplicate_rows"]) == (2, 3)


def test_nothing_found_nothing_said(embed: Embed, tmp_path: Path) -> None:
    write(tmp_path / "corpus/a.parquet", ["a", "b"], ["x", "y"])
    answer = embed()
    assert not any(answer["findings"].values()) and "  found  " not in show_run(json.loads(answer.stdout))


def test_files_that_changed_or_are_gone(embed: Embed, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        write(tmp_path / f"corpus/{name}.parquet", [name], ["x"])
    with monkeypatch.context() as stopped:
        stopped.setattr("embermill.jobs.run.publish_manifest", _interrupted)
        assert embed(corpus={"partition_text_bytes": 1}).code == 33
    (tmp_path / "corpus/a.parquet").unlink()
    (tmp_path / "corpus/b.parquet").touch()
    answer = embed(corpus={"partition_text_bytes": 1})
    assert answer.code == 0 and (answer["findings"]["files_gone"], answer["findings"]["files_changed"]) == (1, 1), answer.errors
    words = show_run(json.loads(answer.stdout))
    assert "1 corpus file changed since the dataset was planned" in words and "1 corpus file gone since then" in words


def _interrupted(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_so_many_rows_are_left_to_verify(embed: Embed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.dataset.views.findings.MOST_ROWS", 1)
    write(tmp_path / "corpus/a.parquet", ["a", "a"], ["x", "y"])
    answer = embed()
    assert answer["findings"]["duplicate_ids"] is None and "were not looked for" in show_run(json.loads(answer.stdout))


def test_status_looks_whether_the_shards_are_there(embed: Embed, command: Command, tmp_path: Path) -> None:
    write(tmp_path / "corpus/a.parquet", ["a", "b"], ["x", "y"])
    output = embed().output
    assert command("status", str(output))["missing_files"] == 0
    (shard,) = (output / "data").iterdir()
    shard.unlink()
    status = command("status", str(output))
    assert (status.code, status["missing_files"], status["missing"]) == (0, 1, [f"data/{shard.name}"])
    words = show_status(json.loads(status.stdout))
    assert f"1 file, missing or of the wrong size: data/{shard.name}: run `embermill repair {output}`" in words
    assert command("repair", str(output)).code == 0, "the advice helps"
    assert command("status", str(output))["missing_files"] == 0
