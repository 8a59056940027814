"""`embermill redrive` of a dataset of chunks: a document that was refused whole is embedded whole, and every chunk that was good keeps its vector."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.jobs.chunk_engine import ChunkEngine
from tests.jobs.command_line import Answer, command, open_inline_pool
from tests.jobs.test_chunked_job import corpus, rows, split, words

ENGINE = "python:tests.jobs.chunk_engine:CountingChunkEngine"
SETTINGS: dict[str, Any] = {
    "corpus": {"max_quarantined": 0, "partition_text_bytes": 4000}, "chunk": {"keep_text": True}, "output_section": {"shard_bytes": 4000},
}  # fmt: skip
POISONED = 7


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("embermill.jobs.run.open_pool", open_inline_pool)
    monkeypatch.chdir(tmp_path)


def embedded() -> Counter[str]:
    """Texts that the engine has answered since the last look."""
    file = Path("embedded-texts")
    found = Counter(map(json.loads, file.read_text(encoding="utf-8").splitlines())) if file.exists() else Counter()
    file.unlink(missing_ok=True)
    return found


def by_place(answer: Answer) -> dict[tuple[int, int], dict[str, Any]]:
    return {(row["document_id"], row["chunk_index"]): row for row in rows(answer)}


def texts_of(found: dict[tuple[int, int], dict[str, Any]]) -> set[str]:
    return {row["text"] for row in found.values()}


def test_a_document_that_was_refused_is_corrected(tmp_path: Path) -> None:
    """Its neighbours in the partition, chunks of long documents too, are not embedded again; what comes of it equals a run over the corrected corpus."""
    texts = [words(20 + 40 * number, number) for number in range(14)]
    spoilt = [*texts]
    spoilt[POISONED] = texts[POISONED].replace("alpha", "POISON", 1)
    assert spoilt[POISONED] != texts[POISONED] and len(spoilt[POISONED].split()) > 200, "of several chunks, one of which fails"
    refused = split(corpus(tmp_path, spoilt), ENGINE, **SETTINGS)
    assert refused.code == 3 and "embermill redrive" in refused.errors
    (tmp_path / "embedded-texts").unlink()
    corpus(tmp_path, texts)
    redriven = command("redrive", str(refused.output), output=refused.output)
    given = embedded()
    assert (redriven.code, redriven["documents"], redriven["rows_quarantined"]) == (0, 14, 0), redriven.errors
    whole = split(tmp_path, ENGINE, output="whole", **SETTINGS)
    after, expected = by_place(redriven), by_place(whole)
    assert after == expected
    of_the_others = {row["text"] for place, row in expected.items() if place[0] != POISONED}
    assert not given.keys() & of_the_others, "good chunks keep their vectors"
    assert given.keys() == texts_of(expected) - of_the_others and max(given.values()) == 1
    assert command("verify", str(refused.output)).code == 0


def test_an_engine_that_is_cured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [words(100, 1), "one POISON. " + words(200, 2), words(150, 3)]
    refused = split(corpus(tmp_path, texts), ENGINE, **SETTINGS)
    assert refused.code == 3
    embedded()
    monkeypatch.setattr(ChunkEngine, "POISON", "no such word")
    redriven = command("redrive", str(refused.output), output=refused.output)
    found = by_place(redriven)
    assert {document for document, _ in found} == {0, 1, 2} and redriven["documents"] == 3
    assert embedded().keys() == {row["text"] for (document, _), row in found.items() if document == 1}
    assert all(row["chunk_count"] == sum(place[0] == document for place in found) for (document, _), row in found.items())


def test_documents_whose_ids_were_all_null_take_the_type_that_the_ids_have_now(tmp_path: Path) -> None:
    texts = [words(100 + number, number) for number in range(3)]
    corpus(tmp_path, texts, id=pa.nulls(3))
    refused = split(tmp_path, ENGINE, **SETTINGS)
    assert refused.code == 3
    corpus(tmp_path, texts)
    redriven = command("redrive", str(refused.output), output=refused.output)
    assert redriven.code == 0 and by_place(redriven) == by_place(split(tmp_path, ENGINE, output="whole", **SETTINGS)), redriven.errors
    assert {type(row["document_id"]) for row in rows(redriven)} == {int} and command("verify", str(refused.output)).code == 0
