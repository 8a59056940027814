"""Words that WordPiece takes for one unknown token because they are long, from the corpus to the manifest: `chunk.on_blob`."""

from __future__ import annotations

import base64
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from embermill.jobs.chunking.cutter import Cutter, Document, Settings
from embermill.jobs.commands.answers_run import show_run
from embermill.jobs.commands.answers_sync import show_sync
from embermill.jobs.dataset.metadata.manifest import read_manifest
from embermill.jobs.storage import open_folder
from tests.jobs.chunking.tokenizers_to_cut_by import measure_of
from tests.jobs.command_line import Answer, command, open_inline_pool
from tests.jobs.test_chunked_job import corpus, rows, split

ENGINE = "python:tests.jobs.chunk_engine:WordPieceEngine"
THAI = "ภาษาไทยไม่มีช่องว่าง"
TEXTS = ["a" * 101, "a" * 448, THAI * 30, "a" * 70_000, "a word and " + "b" * 130]


def encoded(size: int) -> str:
    return base64.b64encode(random.Random(1).randbytes(size)).decode()[:size]


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.run.open_pool", open_inline_pool)
    monkeypatch.setattr("embermill.jobs.sync.stages.open_pool", open_inline_pool)


def chunks_of(answer: Answer, texts: list[str]) -> dict[int, list[str]]:
    found = defaultdict[int, list[str]](list)
    for row in rows(answer):
        found[row["document_id"]].append(texts[row["document_id"]][row["start_char"] : row["end_char"]])
    for document, chunks in found.items():
        assert "".join("".join(chunks).split()) == "".join(texts[document].split()), "nothing is lost"
    return found


def long_unknown(chunks: list[str]) -> int:
    """Unknown words of over 64 characters that the finished chunks hold: what `unknown_words` must count."""
    return sum(end - start > 64 for chunk in chunks for start, end in measure_of("wordpiece", "").unknown_words(chunk))


def test_kept_as_far_as_they_go_and_counted(tmp_path: Path) -> None:
    answer = split(corpus(tmp_path, TEXTS), ENGINE)
    found = chunks_of(answer, TEXTS)
    assert (len(found[0]), len(found[1])) == (2, 7) and len(found) == len(TEXTS)
    assert not any(long_unknown(found[place]) for place in (0, 1, 2, 4)), "a shorter chunk avoids every unknown word of these"
    expected = long_unknown(found[3])
    assert expected > 100 and answer["unknown_words"] == expected
    manifest = read_manifest(open_folder(str(answer.output)))
    assert manifest is not None and manifest.root["totals"]["unknown_words"] == expected
    assert f"{expected:,} pieces of over 64 characters" in show_run(json.loads(answer.stdout))
    again = split(tmp_path, ENGINE)
    assert again["unknown_words"] == expected and again["rows_embedded"] == 0
    assert command("verify", str(answer.output)).code == 0


def test_refused_where_that_is_asked_for(tmp_path: Path) -> None:
    answer = split(corpus(tmp_path, TEXTS), ENGINE, corpus={"max_quarantined": 1}, chunk={"on_blob": "refuse"})
    assert [*chunks_of(answer, TEXTS)] == [0, 1, 2, 4] and answer["rows_quarantined"] == 1 and answer["unknown_words"] == 0
    refused: dict[str, Any] = answer["first_quarantined"]
    assert refused["id"] == "3" and refused["reason"] == "not_cut" and "over 1000 chunks" in refused["error"]
    assert "unknown_words" not in read_manifest(open_folder(str(answer.output))).root["totals"]  # type: ignore[union-attr]


def test_a_sync_counts_those_of_the_documents_that_it_writes(tmp_path: Path) -> None:
    kept, new = "a" * 70_000, "some words, and " + "b" * 90_000
    first = split(corpus(tmp_path, ["short", kept]), ENGINE)
    assert first["unknown_words"] > 0
    synced = split(corpus(tmp_path, ["shorter", kept, new]), ENGINE, name="sync")
    assert (synced.code, synced["action"], synced["version"]) == (0, "committed", 2), synced.errors
    (cut,) = Cutter(measure_of("wordpiece", ""), Settings(256)).cut([Document(new)])
    expected = long_unknown([new[chunk.start : chunk.end] for chunk in cut.chunks])
    assert expected > 100 and synced["unknown_words"] == expected, "the kept document was counted by the run"
    assert f"{expected:,} pieces of over 64 characters" in show_sync(json.loads(synced.stdout))
    corpus(tmp_path, ["shorter still", kept, new])
    later = split(tmp_path, ENGINE, name="sync")
    assert (later["version"], later["unknown_words"]) == (3, 0) and "of over 64 characters" not in show_sync(json.loads(later.stdout))


def test_base64_has_words_of_all_lengths(tmp_path: Path) -> None:
    """+ and / end words, so few are too long: those are cut, and none is lost."""
    texts = [encoded(8_000)]
    assert measure_of("wordpiece", "").unknown_words(texts[0]), "some are"
    answer = split(corpus(tmp_path, texts), ENGINE)
    assert answer["unknown_words"] == long_unknown(chunks_of(answer, texts)[0]) == 0


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_long_base64_document_keeps_no_unknown_word(tmp_path: Path) -> None:
    text = encoded(400_000)
    answer = split(corpus(tmp_path, [text]), ENGINE)
    assert answer["unknown_words"] == long_unknown(chunks_of(answer, [text])[0]) == 0


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_million_letters(tmp_path: Path) -> None:
    text = "a" * 1_000_000
    answer = split(corpus(tmp_path, [text]), ENGINE)
    assert answer["unknown_words"] == long_unknown(chunks_of(answer, [text])[0]) > 0
    refused = split(tmp_path, ENGINE, output="refused", corpus={"max_quarantined": 1}, chunk={"on_blob": "refuse"})
    assert refused.code == 3 and "its only row was quarantined" in refused.errors and "not_cut" in refused.errors
