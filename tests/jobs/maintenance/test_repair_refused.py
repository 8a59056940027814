"""`repair` of shards beside rows that the engine refused: it refuses them again, and the shard is made as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.command_line import command, open_inline_pool, run
from tests.jobs.word_engines import PoisonEngine


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("run", "sync.stages"):
        monkeypatch.setattr(f"embermill.jobs.{module}.open_pool", open_inline_pool)


def row(identity: str, text: str) -> dict[str, Any]:
    return {"id": identity, "text": text}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Version 1 has a refused row; version 2 embeds one text, copies two, and has two refused rows of one text, in a partition each."""
    corpus, rows = tmp_path / "corpus/a.jsonl", [row(f"r{number}", "poison" if number == 3 else f"text {number}") for number in range(10)]
    corpus.parent.mkdir()
    corpus.write_text("".join(json.dumps(each) + "\n" for each in rows))
    answer = run(tmp_path, engine="PoisonEngine", corpus={"files": [str(corpus)]})
    assert (answer.code, answer["rows_quarantined"]) == (0, 1), answer.errors
    rows += [row("n1", "poison two"), row("n2", "new"), row("n3", "new"), row("n4", "poison two"), row("n5", "text 1")]
    corpus.write_text("".join(json.dumps(each) + "\n" for each in rows))
    assert command("sync", str(tmp_path / "out.yaml"))["rows"] == 12
    return answer.output


def test_each_shard_is_made_again(dataset: Path) -> None:
    shards = sorted([*dataset.glob("data/*.parquet"), *dataset.glob("changes/*/upserts/*.parquet")])
    assert len(shards) == 3
    for shard in shards:
        held = shard.read_bytes()
        shard.unlink()
        answer = command("repair", str(dataset))
        assert answer.code == 0 and shard.read_bytes() == held, answer.errors
    assert command("verify", str(dataset)).code == 0


def test_an_engine_that_refuses_other_rows_now_repairs_nothing(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shard,) = dataset.glob("data/*.parquet")
    shard.unlink()
    encode = PoisonEngine.encode
    monkeypatch.setattr(PoisonEngine, "encode", lambda engine, text: encode(engine, text.replace("text 7", "poison")))
    answer = command("repair", str(dataset))
    assert answer.code == 3 and "cannot be made again, the corpus is not what it was" in answer.errors and not shard.exists()
