"""`model.on_long_text: split` from the configuration to the dataset, on an inline pool."""

from __future__ import annotations

import hashlib
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.chunking.alphabet import BLANKS
from embermill.jobs.chunking.ids import chunk_ids
from embermill.jobs.commands.answers import show_plan, show_status
from embermill.jobs.commands.answers_run import show_run
from tests.jobs.chunk_engine import MAX_WORDS, count
from tests.jobs.command_line import Answer, command, open_inline_pool, run

ENGINE = "python:tests.jobs.chunk_engine:ChunkEngine"


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.run.open_pool", open_inline_pool)


def corpus(folder: Path, texts: list[str], **columns: list[Any] | pa.Array) -> Path:
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    table = pa.table({"id": pa.array(range(len(texts)), pa.int64()), "text": texts} | columns)
    pq.write_table(table, folder / "corpus/a.parquet", row_group_size=7)
    return folder


def words(number: int, seed: int) -> str:
    chosen = random.Random(seed)
    return " ".join(chosen.choice(["alpha", "beta.", "gamma\n\n", "delta\n", "epsilon"]) for _ in range(number))


def split(folder: Path, engine: str = ENGINE, model: dict[str, Any] | None = None, **sections: Any) -> Answer:
    return run(folder, engine=None, model={"engine": engine, "on_long_text": "split"} | (model or {}), **sections)


def rows(answer: Answer) -> list[dict[str, Any]]:
    assert answer.code == 0, answer.errors
    found = [pq.read_table(file).to_pylist() for file in sorted((answer.output / "data").glob("*.parquet"))]
    return [row for table in found for row in table]


def text_hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def test_rows_of_chunks(tmp_path: Path) -> None:
    texts = [words(size, size) for size in (1, 5, 31, 32, 100, 400)] + ["  a few blanks "]
    answer = split(corpus(tmp_path, texts, lang=["en"] * 7), corpus={"keep_columns": ["lang"]}, chunk={"keep_text": True})
    found = defaultdict(list)
    for row in rows(answer):
        found[row["document_id"]].append(row)
    assert [*found] == [*range(7)] and answer["rows_out"] == sum(map(len, found.values())) and answer["documents"] == 7
    for document, chunks in found.items():
        text, at = texts[document], 0
        assert [row["chunk_index"] for row in chunks] == [*range(len(chunks))]
        for row in chunks:
            piece = text[row["start_char"] : row["end_char"]]
            assert row["text_hash"] == text_hash(piece) and row["text"] == piece and row["prefix"] == ""
            assert row["id"].partition("~")[0] == f"{document}#{row['text_hash'][:12]}"
            assert row["chunk_count"] == len(chunks) and row["document_hash"] == text_hash(text) and row["lang"] == "en"
            assert row["num_tokens"] == count([piece])[0] <= MAX_WORDS and row["num_tokens_dropped"] == 0
            assert not text[at : row["start_char"]].strip(BLANKS)
            at = row["end_char"]
        assert not text[at:].strip(BLANKS)
        if count([text])[0] <= MAX_WORDS:
            assert [(row["start_char"], row["end_char"]) for row in chunks] == [(0, len(text))]
    assert command("verify", str(answer.output)).code == 0


def test_the_same_rows_whatever_the_batches_and_partitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [words(size * 7, size) for size in range(40)]
    whole = rows(split(corpus(tmp_path, texts), output="whole"))
    pieces = rows(split(tmp_path, output="pieces", corpus={"partition_text_bytes": 500}, output_section={"shard_bytes": 3000}))
    assert [row | {"version": 1} for row in whole] == [row | {"version": 1} for row in pieces]


def test_a_document_lies_in_one_shard(tmp_path: Path) -> None:
    answer = split(corpus(tmp_path, [words(300 + size, size) for size in range(20)]), output_section={"shard_bytes": 2000})
    files = sorted((answer.output / "data").glob("*.parquet"))
    seen = [{*pq.read_table(file, columns=["document_id"]).column(0).to_pylist()} for file in files]
    assert len(files) > 5 and sum(map(len, seen)) == 20
    assert rows(answer) and command("verify", str(answer.output)).code == 0


def test_a_document_is_refused_whole(tmp_path: Path) -> None:
    texts = [words(200, 1), words(100, 2) + " POISON " + words(100, 3), words(200, 4)]
    answer = split(corpus(tmp_path, texts), corpus={"max_quarantined": 5})
    assert {row["document_id"] for row in rows(answer)} == {0, 2}
    refused = pq.read_table(next((answer.output / "quarantine").glob("*"))).to_pylist()
    assert [(row["id"], row["reason"], row["row_count"]) for row in refused] == [("1", "encoder_failed", 1)]
    assert answer["documents"] + answer["rows_quarantined"] == 3


def test_the_words_tell_documents_and_chunks_apart(tmp_path: Path) -> None:
    texts = [words(200, 1), words(100, 2) + " POISON", words(3, 3)]
    answer = split(corpus(tmp_path, texts), corpus={"max_quarantined": 5})
    chunks = len(rows(answer))
    shown = show_run(json.loads(answer.stdout))
    for part in ("documents  3 in = 2 out + 1 quarantined, see", f"chunks     {chunks}\n", "0 chunks too long", "half of the chunks", "first document read"):
        assert part in shown, shown
    assert f"this run   2 documents, {chunks} chunks in " in shown and "chunks/s" in shown and " rows" not in shown
    status = show_status(json.loads(command("status", str(answer.output)).stdout))
    assert "documents   3 in = 2 out + 1 quarantined" in status and f"chunks      {chunks}\n" in status
    assert f"2 documents, {chunks} chunks, " in show_plan(json.loads(command("plan", f"{answer.output}.yaml").stdout))


def test_prefix(tmp_path: Path) -> None:
    texts, titles = [words(100, 1), words(3, 2), words(50, 3)], ["A title", None, " ".join(["long"] * 40)]
    answer = split(corpus(tmp_path, texts, title=titles), chunk={"prefix_columns": ["title"], "keep_text": True})
    for row in rows(answer):
        given = row["prefix"] + texts[row["document_id"]][row["start_char"] : row["end_char"]]
        assert row["text_hash"] == text_hash(given) and row["num_tokens"] == count([given])[0] <= MAX_WORDS
        assert row["prefix"] == {0: "A title\n\n", 1: "", 2: "long " * 6 + "long\n\n"}[row["document_id"]]
        assert row["num_tokens_dropped"] == (33 if row["document_id"] == 2 else 0)


@pytest.mark.parametrize(
    ("engine", "sections", "said"),
    [
        ("NoCounter", {}, "does not count tokens"),
        ("CutCounter", {}, "count_tokens must count those over the limit too"),
        ("ChunkEngine", {"chunk": {"max_tokens": 33}}, "chunk.max_tokens: expected at most 32"),
        ("ChunkEngine", {"chunk": {"max_tokens": 16}}, "chunk.max_tokens: 15 tokens of room for text, expected 16 or more"),
        ("ChunkEngine", {"chunk": {"overlap_tokens": 16}}, "chunk.overlap_tokens: expected less than half"),
        ("ChunkEngine", {"chunk": {"prefix_columns": ["nope"]}}, "chunk.prefix_columns: no file has a column 'nope'"),
        ("ChunkEngine", {"chunk": {"document_column": "num_tokens"}}, "chunk.document_column: 'num_tokens' is the name"),
        ("ChunkEngine", {"corpus": {"keep_columns": ["chunk_index"]}}, "keep_columns: [{chunk_index: source_chunk_index}]"),
        ("ChunkEngine", {"chunk": {"splitter": "python:tests.jobs.chunk_engine:nothing"}}, "has no function nothing"),
        ("ChunkEngine", {"output_section": {"text": True}}, "kept by chunk.keep_text: true"),
        ("ChunkEngine", {"model": {"on_long_text": "truncate"}, "chunk": {"headings": True}}, "model.on_long_text: split alone"),
    ],
)
@pytest.mark.parametrize("name", ["plan", "run"])
def test_what_is_refused_before_a_worker_starts(tmp_path: Path, engine: str, sections: dict[str, Any], said: str, name: str) -> None:
    answer = split(corpus(tmp_path, ["text"], chunk_index=[1]), f"python:tests.jobs.chunk_engine:{engine}", name=name, **sections)
    assert answer.code == 2 and said in answer.errors + answer.stdout
    assert not (tmp_path / "out/data").exists()


def halves(text: str) -> list[tuple[int, int]]:
    return [(0, len(text) // 2), (len(text) // 2, len(text))]


@pytest.mark.parametrize(
    ("engine", "sections", "said", "then"),
    [
        ("ChunkEngine", {"chunk": {"headings": True, "rules": "text"}}, "set chunk.rules", {"chunk": {"headings": True, "rules": "markdown"}}),
        (
            "ChunkEngine", {"chunk": {"headings": True, "splitter": "python:tests.jobs.test_chunked_job:halves"}}, "excludes chunk.splitter",
            {"chunk": {"prefix_columns": ["title"], "splitter": "python:tests.jobs.test_chunked_job:halves"}},
        ),
        ("ChunkEngine", {"model": {"on_long_text": "error"}, "chunk": {"max_tokens": 20}}, "set that, or take the section out", {"chunk": {"max_tokens": 20}}),
        ("ChunkEngine", {"output_section": {"text": True}}, "chunk.keep_text: true", {"chunk": {"keep_text": True}}),
        ("NoLimit", {}, "set chunk.max_tokens", {"chunk": {"max_tokens": 32}}),
        ("ChunkEngine", {"chunk": {"document_column": "text_hash"}}, "choose another", {"chunk": {"document_column": "page"}}),
    ],
)  # fmt: skip
def test_what_is_advised_helps(tmp_path: Path, engine: str, sections: dict[str, Any], said: str, then: dict[str, Any]) -> None:
    named = f"python:tests.jobs.chunk_engine:{engine}"
    corpus(tmp_path, ["# Title\n\n" + words(90, 1)], title=["a title"])
    refused = split(tmp_path, named, **sections)
    assert refused.code == 2 and said in refused.errors
    assert len(rows(split(tmp_path, named, **then))) > 2


def test_other_rules_are_another_dataset(tmp_path: Path) -> None:
    assert split(corpus(tmp_path, [words(100, 1)])).code == 0
    again = split(tmp_path, chunk={"min_fill": 0.5})
    assert again.code == 2 and "chunk.min_fill: 0.25 -> 0.5" in again.errors


def test_ids_of_texts_that_begin_alike() -> None:
    same, other = "0123456789abffff", "0123456789abeeee"
    assert chunk_ids([0, 0, 0, 1], ["d", "d", "d", "d"], [same + "0" * 16, same + "0" * 16, other + "0" * 16, other + "0" * 16]) == [
        "d#0123456789ab", "d#0123456789ab~2", f"d#{other}", "d#0123456789ab",
    ]  # fmt: skip


def test_search_gives_each_document_once(tmp_path: Path) -> None:
    answer = split(corpus(tmp_path, [words(300, seed) for seed in range(4)]), output_section={"shard_bytes": 2000}, chunk={"keep_text": True})
    best = command("search", str(answer.output), "alpha", "-k", "3")["hits"]
    chunks = command("search", str(answer.output), "alpha", "-k", "60", "--chunks")["hits"]
    firsts = {hit["columns"]["document_id"]: hit for hit in reversed(chunks)}
    assert len(chunks) > 40 and [hit["columns"]["id"] for hit in best] == [
        hit["columns"]["id"] for hit in sorted(firsts.values(), key=lambda hit: chunks.index(hit))[:3]
    ]
    assert all(hit["columns"]["text"] for hit in chunks)
