"""`chunk.pooling: late` from the configuration to the dataset and through its life: a chunk's vector is the mean over its tokens in a window."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tokenizers

from embermill.encoder import describe
from embermill.jobs.chunking.cutter import Cutter, Document, Settings
from embermill.jobs.chunking.late import LateCutter, given_text
from embermill.jobs.chunking.measure import Measure
from embermill.jobs.run import run
from embermill.jobs.storage import open_folder
from embermill.jobs.sync.job import SyncOptions, sync
from tests.encoder.plain_bert import hidden_states
from tests.jobs.command_line import Answer, command, open_inline_pool
from tests.jobs.late_chunks import BERT, CHUNK, WINDOW, Told, documents, given_to, prose, settings, told, write_model
from tests.jobs.sync.chunks import require_whole_documents
from tests.jobs.sync.corpus import Corpus, Row, live_rows
from tests.jobs.sync.test_chunk_kills import work_until

__all__ = ["told"]  # a fixture


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.run.open_pool", open_inline_pool)
    monkeypatch.setattr("embermill.jobs.sync.stages.open_pool", open_inline_pool)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    write_model(tmp_path / "model")
    return Corpus(tmp_path / "corpus")


def live(root: Path, output: str = "out") -> dict[str, Row]:
    return live_rows(str(root / output), without=("version",))


def by_command(root: Path, name: str = "run", **sections: Any) -> Answer:
    """`embermill run`, or another command of a configuration."""
    file = root / "job.yaml"
    file.write_text(json.dumps(given_to(root, **sections)))
    return command(name, str(file))


def by_document(rows: dict[str, Row]) -> dict[Any, list[Row]]:
    found = defaultdict(list)
    for row in sorted(rows.values(), key=lambda row: row["chunk_index"]):
        found[row["document_id"]].append(row)
    return found


def text_hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def late_cutter(model: Path) -> LateCutter:
    tokenizer = describe(str(model), max_tokens=WINDOW).open_tokenizer()
    measure = Measure(tokenizer.count, tokenizer.unknown_words)
    return LateCutter(Cutter(measure, Settings(WINDOW)), Cutter(measure, Settings(CHUNK)))


def own_mean(model: Path, window: str, start: int, end: int) -> np.ndarray:
    """By a plain BERT in float64: the mean over the tokens of window[start:end], of length 1."""
    library = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
    library.no_truncation()
    library.no_padding()
    tokens = library.encode(window)
    states = hidden_states(BERT, BERT.tensors(), tokens.ids)
    rows = [row for row, (low, high) in enumerate(tokens.offsets) if not tokens.special_tokens_mask[row] and start <= low and high <= end]
    mean: np.ndarray = states[rows].mean(0)
    return mean / np.linalg.norm(mean)


def test_vectors_are_means_over_a_chunks_own_tokens(tmp_path: Path, corpus: Corpus) -> None:
    rows = [*documents(3, 200), *documents(2, 8, first=10), *documents(1, 40, first=20)]
    corpus.write("a.jsonl", rows)
    run(settings(tmp_path))
    found, cutter, windows = by_document(live(tmp_path)), late_cutter(tmp_path / "model"), 0
    for document in rows:
        text, chunks = document["text"], found[document["id"]]
        (cut,) = cutter.cut([Document(text)])
        assert [(row["start_char"], row["end_char"]) for row in chunks] == [(chunk.start, chunk.end) for chunk in cut.chunks]
        for row, chunk in zip(chunks, cut.chunks, strict=True):
            assert row["text"] == text[chunk.start : chunk.end] and row["num_tokens_dropped"] == 0
            assert row["text_hash"] == text_hash(given_text(text, chunk))
            assert row["id"].partition("~")[0] == f"{document['id']}#{row['text_hash'][:12]}"
            if chunk.window is not None:
                windows += 1
                start = chunk.window.start
                expected = own_mean(tmp_path / "model", text[start : chunk.window.end], chunk.start - start, chunk.end - start)
                np.testing.assert_allclose(row["embedding"], expected, atol=2e-5)
    assert windows > 20 and len(found["d20"]) > 1, "a window of a whole document is among them"
    assert command("verify", str(tmp_path / "out")).code == 0


def test_a_document_of_one_chunk_is_as_without_late(tmp_path: Path, corpus: Corpus) -> None:
    rows = [*documents(6, 9), {"id": "empty", "text": "", "lang": "en"}, {"id": "blank", "text": " \n zip ", "lang": "en"}, *documents(1, 200, first=30)]
    corpus.write("a.jsonl", rows)
    run(settings(tmp_path))
    run(settings(tmp_path, "alone", chunk={"pooling": "alone"}))
    late, alone = by_document(live(tmp_path)), by_document(live(tmp_path, "alone"))
    assert len(late["d30"]) > 5 and late["d30"][0]["embedding"] != alone["d30"][0]["embedding"]
    for row in rows[:-1]:
        assert late[row["id"]] == alone[row["id"]] and len(late[row["id"]]) == 1
        assert late[row["id"]][0]["text_hash"] == text_hash(row["text"])


def test_a_prefix_is_read_and_not_in_the_mean(tmp_path: Path, corpus: Corpus) -> None:
    rows = [row | {"title": "a list of models"} for row in documents(2, 120)]
    corpus.write("a.jsonl", rows)
    run(settings(tmp_path, chunk={"prefix_columns": ["title"]}))
    (first, *_) = by_document(live(tmp_path))["d0"]
    assert first["prefix"] == "a list of models\n\n" and first["num_tokens_dropped"] == 0
    run(settings(tmp_path, "bare"))
    assert by_document(live(tmp_path, "bare"))["d0"][0]["embedding"] != first["embedding"]


def test_a_vector_depends_on_nothing_but_its_window(tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    from embermill.jobs.worker.cutting import LIMITS, BatchLimits

    corpus.write("a.jsonl", documents(9))
    run(settings(tmp_path))
    monkeypatch.setitem(LIMITS, "cpu", BatchLimits(5, 1 << 20))
    run(settings(tmp_path, "other", corpus={"partition_text_bytes": 900}, output={"shard_bytes": 3000}))
    assert live(tmp_path) == live(tmp_path, "other")


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"model": {"pooling": "cls"}}, "chunk.pooling: late: {model}: its pooling is cls, and they are made for mean alone"),
        ({"model": {"pooling": "last"}}, "its pooling is last"),
        ({"model": {"engine": "python:tests.jobs.chunk_engine:ChunkEngine"}, "chunk": {"max_tokens": 20}}, "only the engine native"),
        ({"chunk": {"max_tokens": None}}, "chunk.pooling: late needs chunk.max_tokens"),
        ({"chunk": {"max_tokens": WINDOW}}, f"expected chunk.max_tokens under {WINDOW}"),
        ({"chunk": {"overlap_tokens": 3, "headings": True}}, "chunk.pooling: late goes without chunk.overlap_tokens and chunk.headings"),
        ({"chunk": {"pooling": "early"}}, "alone"),
    ],
)
@pytest.mark.parametrize("name", ["plan", "run"])
def test_what_is_refused_before_a_worker_starts(tmp_path: Path, corpus: Corpus, sections: dict[str, Any], said: str, name: str) -> None:
    corpus.write("a.jsonl", documents(1))
    answer = by_command(tmp_path, name, **sections)
    assert answer.code == 2 and said.replace("{model}", str(tmp_path / "model")) in answer.errors + answer.stdout
    assert not (tmp_path / "out/data").exists()


@pytest.mark.parametrize(
    ("sections", "said", "then"),
    [
        ({"model": {"pooling": "cls"}}, "leave it out", {"model": {"pooling": "cls"}, "chunk": {"pooling": "alone"}}),
        ({"chunk": {"max_tokens": None}}, "late needs chunk.max_tokens", {"chunk": {"max_tokens": 30}}),
        ({"chunk": {"overlap_tokens": 3}}, "take it out", {"chunk": {"overlap_tokens": 0}}),
    ],
)
def test_what_is_advised_helps(tmp_path: Path, corpus: Corpus, sections: dict[str, Any], said: str, then: dict[str, Any]) -> None:
    corpus.write("a.jsonl", documents(1))
    refused = by_command(tmp_path, **sections)
    assert refused.code == 2 and said in refused.errors
    assert by_command(tmp_path, **then).code == 0 and len(live(tmp_path)) > 5


def test_it_is_another_dataset(tmp_path: Path, corpus: Corpus) -> None:
    corpus.write("a.jsonl", documents(2))
    run(settings(tmp_path))
    answer = by_command(tmp_path, chunk={"pooling": "alone"})
    assert answer.code == 2 and "chunk.pooling: late -> alone" in answer.errors


def bring(root: Path, told: Told, chosen: SyncOptions | None = None) -> int:
    """Sync, and hold it against a run from nothing: rows, and what was read: windows that hold a chunk that no file has, each for those chunks alone."""
    known = {row["text_hash"] for row in live(root).values()}
    told.taken()
    summary = sync(settings(root), chosen or SyncOptions())
    read = told.taken()
    fresh = f"fresh-{summary.version}"
    run(settings(root, fresh))
    wanted = told.taken()
    rows = live(root, fresh)
    assert live(root) == rows
    unknown = {row["text_hash"] for row in rows.values()} - known
    hashes = {text_hash(f"\0{start}:{end}\n{window}" if spans else window) for window, spans in wanted for start, end in (spans or [(0, 0)])}
    assert {text_hash(f"\0{start}:{end}\n{window}" if spans else window) for window, spans in read for start, end in (spans or [(0, 0)])} == unknown <= hashes
    assert summary.texts_embedded == len(unknown)
    require_whole_documents(str(root / "out"))
    assert command("verify", str(root / "out")).code == 0
    return len({window for window, _ in read})


def test_sync_reads_windows_that_hold_unknown_chunks(tmp_path: Path, corpus: Corpus, told: Told) -> None:
    rows = documents(12)
    corpus.write("a.jsonl", rows)
    run(settings(tmp_path))
    all_windows = len({window for window, _ in told.taken()})
    words = rows[3]["text"].split(" ")
    words[100] = "another"
    rows[3] |= {"text": " ".join(words)}
    corpus.write("a.jsonl", rows)
    assert 1 <= bring(tmp_path, told) <= 3 < all_windows
    rows[5] |= {"text": rows[5]["text"] + " zip"}
    rows[6] |= {"text": rows[6]["text"][:300]}
    rows[7] |= {"id": "renamed"}
    rows[8] |= {"text": "zip"}
    corpus.write("a.jsonl", [*rows[:10], *documents(2, first=40), {"id": "copy", "text": rows[0]["text"], "lang": "de"}])
    bring(tmp_path, told)
    corpus.write("a.jsonl", [*rows[1:10], {"id": "copy", "text": rows[0]["text"], "lang": "de"}])
    assert bring(tmp_path, told) == 0, "all that is left is known"


def test_search_shows_each_document_once(tmp_path: Path, corpus: Corpus) -> None:
    corpus.write("a.jsonl", documents(4))
    run(settings(tmp_path))
    out = str(tmp_path / "out")
    best = command("search", out, "open a zip file", "-k", "3")["hits"]
    chunks = command("search", out, "open a zip file", "-k", "40", "--chunks")["hits"]
    assert len({hit["columns"]["document_id"] for hit in best}) == 3 and len(chunks) == 40
    rows = live(tmp_path)
    assert all(hit["columns"]["text"] == rows[hit["columns"]["id"]]["text"] for hit in chunks)


def test_repair_makes_a_damaged_shard_again(tmp_path: Path, corpus: Corpus) -> None:
    rows = documents(8)
    corpus.write("a.jsonl", rows)
    run(settings(tmp_path))
    out = tmp_path / "out"
    for shard in sorted((out / "data").glob("*.parquet"))[:2]:
        damage_and_repair(out, shard)
    rows[2] |= {"text": prose(99, 200)}
    corpus.write("a.jsonl", rows)
    sync(settings(tmp_path))
    (shard,) = (out / "changes").glob("*/upserts/*.parquet")
    damage_and_repair(out, shard)


def damage_and_repair(out: Path, shard: Path) -> None:
    kept = shard.read_bytes()
    shard.write_bytes(kept[:500] + bytes([kept[500] ^ 4]) + kept[501:])
    assert command("verify", str(out)).code == 3
    answer = command("repair", str(out))
    assert answer.code == 0 and answer["repaired"] == [str(shard.relative_to(out))], answer.errors
    assert shard.read_bytes() == kept and command("verify", str(out)).code == 0


def test_redrive_reads_what_was_refused(tmp_path: Path, corpus: Corpus, told: Told) -> None:
    rows = documents(6)
    corpus.write("a.jsonl", rows, raw='{"id": "late", "text": "a zip\n')
    assert by_command(tmp_path, corpus={"max_quarantined": 0}).code == 3
    told.taken()
    path = corpus.root / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, documents(1, first=70)[0]]))
    answer = command("redrive", str(tmp_path / "out"))
    assert answer.code == 0, answer.errors
    assert {window for window, _ in told.taken()} <= _windows(tmp_path, documents(1, first=70)[0]["text"]), "the others are known"
    run(settings(tmp_path, "whole"))
    assert live(tmp_path) == live(tmp_path, "whole")


def _windows(root: Path, text: str) -> set[str]:
    (cut,) = late_cutter(root / "model").cut([Document(text)])
    return {text[chunk.window.start : chunk.window.end] for chunk in cut.chunks if chunk.window}


@pytest.mark.parametrize("name", ["run", "sync"])
def test_killed_and_resumed(tmp_path: Path, corpus: Corpus, name: str) -> None:
    chosen, rows = random.Random(11), documents(60, 500)
    corpus.write("a.jsonl", rows)
    if name == "sync":
        run(settings(tmp_path, "base"))
        shutil.copytree(tmp_path / "base", tmp_path / "undisturbed")
        shutil.copytree(tmp_path / "base", tmp_path / "out")
        corpus.write("a.jsonl", [row | {"text": row["text"] + " a zip"} if number % 2 else row for number, row in enumerate(rows)])
    given = {output: given_to(tmp_path, output) for output in ("out", "undisturbed")}
    assert work_until(name, given["undisturbed"], None)
    kills = sum(not work_until(name, given["out"], chosen.uniform(0.2, 1.5)) for _ in range(3))
    assert kills and work_until(name, given["out"], None)
    assert live(tmp_path) == live(tmp_path, "undisturbed")
    require_whole_documents(str(tmp_path / "out"))
    assert command("verify", str(tmp_path / "out")).code == 0
    assert [file for file, _ in open_folder(str(tmp_path / "out")).list("data")] and pq.read_table(next((tmp_path / "out/data").glob("*.parquet"))).num_rows
