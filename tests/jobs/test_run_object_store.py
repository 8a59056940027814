"""A whole run on an object store gives what it gives on a disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.config import JobConfig
from embermill.jobs.dataset.views.verify import verify
from embermill.jobs.errors import UsageError
from embermill.jobs.run import run
from embermill.jobs.storage import open_folder
from tests.jobs.command_line import command, open_inline_pool
from tests.jobs.crashes.scenarios import collect_in_two_days


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.run.open_pool", open_inline_pool)


def rows_of(uri: str) -> list[dict[str, Any]]:
    folder = open_folder(uri)
    found: list[dict[str, Any]] = []
    for name, _ in folder.list("data"):
        with folder.open(name) as file:
            found += pq.read_table(file).to_pylist()
    return found


def test_corpus_and_dataset_on_a_store(tmp_path: Path, s3_folder_url: str, put_object: Callable[[str, bytes], None]) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    pq.write_table(pa.table({"id": [f"p{n}" for n in range(150)], "text": [f"text {n}" for n in range(150)]}), corpus / "a b%20.parquet", row_group_size=40)
    (corpus / "b.jsonl").write_text("".join(json.dumps({"id": f"j{n}", "text": f"line {n}"}) + "\n" for n in range(150)) + "broken\n")
    for path in corpus.iterdir():
        put_object(f"{s3_folder_url}/corpus/{path.name}", path.read_bytes())

    def configured(files: str, uri: str) -> JobConfig:
        corpus_section = {"files": [files], "partition_text_bytes": 700, "max_quarantined": 10}
        return JobConfig.model_validate({"model": {"engine": "python:tests.jobs.engines:PlainEngine"}, "corpus": corpus_section, "output": {"uri": uri}})

    local, remote = configured(str(corpus), str(tmp_path / "out")), configured(f"{s3_folder_url}/corpus", f"{s3_folder_url}/out")
    here, there = run(local), run(remote)
    assert (here.rows_in, here.rows_out, here.rows_quarantined, here.tokens) == (there.rows_in, there.rows_out, there.rows_quarantined, there.tokens)
    assert rows_of(local.output.uri) == rows_of(remote.output.uri) and there.rows_out == 300 and there.rows_quarantined == 1
    assert run(remote).rows_embedded == 0
    verify(open_folder(remote.output.uri))
    with pytest.raises(UsageError, match="partition_text_bytes: 700 -> 70"):
        run(remote.model_copy(update={"corpus": remote.corpus.model_copy(update={"partition_text_bytes": 70})}))


def test_redrive_repair_and_gc_on_a_store(tmp_path: Path, s3_folder_url: str, put_object: Callable[[str, bytes], None]) -> None:
    lines = [json.dumps({"id": str(row), "text": f"text {row}"}) for row in range(60)]
    put_object(f"{s3_folder_url}/corpus/a.jsonl", "\n".join([*lines[:30], "{", *lines[30:]]).encode())
    out = f"{s3_folder_url}/out"
    (tmp_path / "job.yaml").write_text(
        json.dumps(
            {
                "model": {"engine": "python:tests.jobs.engines:PlainEngine"},
                "corpus": {"files": [f"{s3_folder_url}/corpus"], "partition_text_bytes": 300, "max_quarantined": 0},
                "output": {"uri": out},
            }
        )
    )
    assert command("run", str(tmp_path / "job.yaml")).code == 3
    put_object(f"{s3_folder_url}/corpus/a.jsonl", "\n".join(lines).encode())
    redriven = command("redrive", out)
    assert (redriven.code, redriven["rows_out"]) == (0, 60), redriven.errors
    name, *_ = (name for name, _ in open_folder(out).list("data"))
    put_object(f"{out}/{name}", b"damaged")
    assert command("verify", out).code == 3
    repaired = command("repair", out)
    assert repaired.code == 0 and repaired["repaired"] == [name], repaired.errors
    assert command("verify", out).code == 0
    put_object(f"{out}/data/part-000000999-000-01234567.parquet", b"left")
    assert command("gc", out)["removed"] == [], "it is younger than a day"
    assert collect_in_two_days(out).removed.count("data/part-000000999-000-01234567.parquet") == 1
    assert command("verify", out).code == 0 and len(rows_of(out)) == 60
