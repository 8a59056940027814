"""What a dataset may hold beside the vector: UUIDs as text, the UUID that follows from an id, the text that was embedded."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import embermill
from embermill.jobs.commands.answers import show_search
from embermill.jobs.corpus.uuids import derived_uuids
from embermill.jobs.dataset.metadata.manifest import read_manifest
from embermill.jobs.dataset.metadata.schema import uuid_columns
from embermill.jobs.plan.files import require_plan
from embermill.jobs.shard.text_hash import hash_texts
from embermill.jobs.storage import open_folder
from tests.jobs.command_line import Answer, command, run
from tests.jobs.worked_on import inline_pools

VALUES = [uuid.UUID(int=number * 2**100 + 7) for number in range(6)]


@pytest.fixture
def job(tmp_path: Path) -> Path:
    (tmp_path / "corpus").mkdir()
    return tmp_path


def make(folder: Path, name: str = "run", *, output: dict[str, Any] | None = None, **corpus: Any) -> Answer:
    with inline_pools():
        return run(folder, name=name, corpus=corpus, output_section=output or {})


def rows_of(answer: Answer) -> list[dict[str, Any]]:
    assert answer.code == 0, answer.errors
    found: list[dict[str, Any]] = embermill.open_dataset(str(answer.output)).read_all().to_pylist()
    return sorted(found, key=lambda row: str(row["id"]))


def test_uuid_columns_of_parquet(job: Path) -> None:
    """As DuckDB writes them, and as pyarrow does; a second file has them as bytes without the mark, or as text."""
    values = ", ".join(f"('{value}', 'text {number}')" for number, value in enumerate(VALUES[:3]))
    query = f"SELECT id::UUID AS id, text, CASE WHEN text <> 'text 0' THEN id::UUID END AS owner FROM (VALUES {values}) t(id, text)"
    duckdb.execute(f"COPY ({query}) TO '{job}/corpus/a.parquet'")
    more = {"id": pa.array([value.bytes for value in VALUES[3:]], pa.binary(16)), "text": ["x", "y", "z"], "owner": [value.hex for value in VALUES[3:]]}
    pq.write_table(pa.table(more), job / "corpus/b.parquet")
    answer = make(job, keep_columns=["owner"])
    rows = rows_of(answer)
    assert [row["id"] for row in rows] == [str(value) for value in VALUES] and [row["owner"] for row in rows] == [None, *map(str, VALUES[1:])]
    folder = open_folder(str(answer.output))
    manifest = read_manifest(folder)
    assert manifest is not None and manifest.root["uuid"] == ["id", "owner"] and uuid_columns(require_plan(folder)) == {"id", "owner"}
    for path in (answer.output / "data").glob("*.parquet"):
        assert json.loads(pq.read_metadata(path).metadata[b"embermill.uuid"]) == ["id", "owner"] and pq.read_schema(path).field("owner").type == pa.string()
    assert command("verify", str(answer.output)).code == 0


def test_declared_ones_of_json_lines(job: Path) -> None:
    lines = [{"id": VALUES[1].hex, "text": "a", "owner": str(VALUES[2]).upper()}, {"id": VALUES[3].urn, "text": "b", "owner": "nobody"}]
    (job / "corpus/a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    answer = make(job, files=[str(job / "corpus/a.jsonl")], keep_columns=["owner"], types={"id": "uuid", "owner": "uuid"})
    (row,) = rows_of(answer)
    assert (row["id"], row["owner"], answer["rows_quarantined"]) == (str(VALUES[1]), str(VALUES[2]), 1)
    assert "is no UUID" in answer["first_quarantined"]["error"]


def write(folder: Path, edited: str) -> None:
    rows = [
        {"id": f"d{row}", "title": f"title {row}", "body": f"body{edited if row == 2 else ''}", "lang": f"l{edited if row == 3 else ''}"} for row in range(5)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "corpus/a.parquet")


def test_the_text_and_a_derived_uuid(job: Path) -> None:
    """The text as it was joined, in rows that were embedded, that were copied, and in a new base."""
    extra: dict[str, Any] = {"output": {"text": True, "id": "uuid5"}, "text_columns": ["title", "body"], "keep_columns": ["lang"]}
    write(job, "")
    first = make(job, **extra)
    assert [row["text"] for row in rows_of(first)] == [f"title {row}\nbody" for row in range(5)]
    write(job, " edited")
    second = make(job, "sync", **extra)
    for step in ("sync", "compact"):
        if step == "compact":
            assert command("compact", str(first.output)).code == 0
        rows = rows_of(second)
        assert [row["text"] for row in rows] == [f"title {row}\nbody{' edited' if row == 2 else ''}" for row in range(5)]
        assert [row["uuid"] for row in rows] == derived_uuids(pa.array([row["id"] for row in rows])).to_pylist()
        assert [row["text_hash"] for row in rows] == hash_texts(pa.array([row["text"] for row in rows])).to_pylist()
        assert [row["version"] for row in rows] == [1, 1, 2, 2, 1] and command("verify", str(first.output)).code == 0
    (path, *_) = sorted((first.output / "data").glob("*.parquet"))
    assert pq.read_schema(path).names == ["id", "embedding", "num_tokens", "num_tokens_dropped", "text_hash", "version", "uuid", "text", "lang"]
    assert json.loads(pq.read_metadata(path).metadata[b"embermill.uuid"]) == ["uuid"]


def test_what_they_collide_with(job: Path) -> None:
    write(job, "")
    answer = make(job, output={"text": True}, text_columns=["title"], keep_columns=[{"body": "text"}])
    assert answer.code == 2 and "corpus.keep_columns: 'text' is taken in the dataset" in answer.errors
    assert make(job, text_columns=["title"], keep_columns=[{"body": "text"}]).code == 0, "without output.text the name is free"
    changed = make(job, output={"text": True}, text_columns=["title"], keep_columns=[{"body": "text"}])
    assert changed.code == 2


@pytest.mark.parametrize(
    ("output", "corpus", "shown"),
    [
        ({"text": True}, {}, "text: what the row says"),
        ({}, {"keep_columns": ["title"]}, "title: a title"),
        ({}, {}, "this dataset keeps ids alone: made with output.text: true, or with columns in corpus.keep_columns, it would show"),
    ],
)
def test_search_shows_what_a_row_says_or_how_to_keep_it(job: Path, output: dict[str, Any], corpus: dict[str, Any], shown: str) -> None:
    pq.write_table(pa.table({"id": ["a"], "text": ["what the\nrow says"], "title": ["a title"]}), job / "corpus/a.parquet")
    made = make(job, output=output, **corpus)
    words = show_search(json.loads(command("search", str(made.output), "row").stdout))
    assert shown in words and words.startswith("1. ") and ("keeps ids alone" in words) == (not output and not corpus)
