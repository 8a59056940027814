"""A further format costs one file (fixed_width.py) and one line in FORMATS: `plan`, `run`, `--limit`, `verify` and `sync` then read it like any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.corpus.formats import FORMATS
from tests.jobs.command_line import Answer, open_inline_pool
from tests.jobs.corpus.fixed_width import RECORD, FixedWidth, record

Embed = Callable[..., Answer]
DOCUMENTS = [(f"d{number:03d}", f"text {number} " + "word " * (number % 3)) for number in range(100)]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The one line; and a corpus of two files beside the same rows in Parquet. Returns the folder."""
    monkeypatch.setitem(FORMATS, FixedWidth.name, FixedWidth())
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(2):
        part = DOCUMENTS[number * 50 : number * 50 + 50]
        (folder / f"{number}.fixed").write_bytes(b"".join(record(*document) for document in part))
        ids, texts = zip(*((identity, text.strip()) for identity, text in part), strict=True)
        pq.write_table(pa.table({"id": ids, "text": texts}), folder / f"{number}.parquet")
    return folder


def rows_of(output: Path) -> list[dict[str, object]]:
    return [row for file in sorted((output / "data").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


@pytest.mark.parametrize("form", ["auto", "fixed"])
def test_planned_and_run_like_any_other(embed: Embed, command: Embed, registered: Path, form: str) -> None:
    corpus = {"files": [str(registered / "*.fixed")], "format": form, "partition_text_bytes": 300}
    planned = embed(output="fixed", name="plan", corpus=corpus)
    assert (planned.code, planned["files"], planned["rows"]) == (0, 2, 100), planned.errors
    assert planned["partitions"] > 4
    answer = embed(output="fixed", corpus=corpus)
    assert (answer.code, answer["rows_in"], answer["rows_out"]) == (0, 100, 100), answer.errors
    parquet = embed(output="parquet", corpus={"files": [str(registered / "*.parquet")]})
    assert rows_of(answer.output) == rows_of(parquet.output)
    assert command("verify", str(answer.output)).code == 0


def test_its_first_rows(embed: Embed, command: Embed, registered: Path, tmp_path: Path) -> None:
    embed(name="plan", corpus={"files": [str(registered / "*.fixed")]})  # writes the configuration
    answer = command("run", str(tmp_path / "out.yaml"), "--limit", "60", output=tmp_path / "out-first-60")
    assert (answer.code, answer["rows_out"]) == (0, 60), answer.errors
    assert [row["id"] for row in rows_of(answer.output)] == [identity for identity, _ in DOCUMENTS[:60]]


def test_a_sync_reads_what_changed(embed: Embed, registered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.sync.stages.open_pool", open_inline_pool)
    corpus = {"files": [str(registered / "*.fixed")]}
    assert embed(name="sync", corpus=corpus).code == 0
    data = bytearray((registered / "1.fixed").read_bytes())
    data[:RECORD] = record("d050", "another text")
    (registered / "1.fixed").write_bytes(data)
    answer = embed(name="sync", corpus=corpus)
    assert (answer.code, answer["rows_changed"]) == (0, 1), answer.errors


def test_what_it_cannot_read_is_refused_in_its_words(embed: Embed, registered: Path) -> None:
    (registered / "0.fixed").rename(registered / "0.fixed.gz")
    packed = embed(output="packed", corpus={"files": [str(registered / "*.gz")]})
    assert packed.code == 2 and "0.fixed.gz: records are found by their places: unpack it" in packed.errors
    unknown = embed(output="unknown", corpus={"files": [str(registered / "*.parquet")], "format": "xml"})
    assert unknown.code == 2 and "corpus.format: expected 'auto', 'parquet', 'jsonl', 'csv', 'text', 'document' or 'fixed', got 'xml' (str)" in unknown.errors
    (registered / "9.fixed").write_bytes(b"x" * (RECORD + 1))
    broken = embed(output="broken", corpus={"files": [str(registered / "9.fixed")]})
    assert broken.code != 0 and "9.fixed: expected records of 32 bytes, got 33 bytes" in broken.errors
