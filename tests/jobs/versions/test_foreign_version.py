"""A dataset of format 1 that keeps a column of the corpus called `version` can have no second version: every command that would make one says so."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.bookkeeping.seal import sealed_json
from embermill.jobs.plan import planning
from tests.jobs.command_line import Answer

Embed = Callable[..., Answer]
CORPUS = {"keep_columns": ["version"]}


@pytest.fixture
def dataset(embed: Embed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As releases before there were versions made it, of a corpus that has since grown by a row."""
    rows = pa.table({"id": ["a", "b"], "text": ["one", "two"], "version": ["v1", "v2"]})
    (tmp_path / "corpus").mkdir()
    pq.write_table(rows, tmp_path / "corpus/a.parquet")
    (tmp_path / "out/_embermill").mkdir(parents=True)
    (tmp_path / "out/_embermill/format.json").write_bytes(sealed_json({"format_version": 1, "name": "out", "created": "2026-01-01T00:00:00+00:00"}))
    with monkeypatch.context() as old:
        old.setattr(planning, "shard_schema", partial(planning.shard_schema, tells_versions=False))
        answer = embed(corpus=CORPUS)
    assert answer.code == 0, answer.errors
    pq.write_table(pa.table({"id": ["c"], "text": ["three"], "version": ["v3"]}), tmp_path / "corpus/b.parquet")
    return answer.output


@pytest.mark.parametrize("name", ["sync", "compact", "rollback", "erase"])
def test_each_command_that_makes_a_version_refuses(name: str, dataset: Path, embed: Embed, command: Embed, tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("a")
    before = {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file()}
    options = {"compact": [], "rollback": ["--to", "1"], "erase": ["--ids", str(tmp_path / "ids")]}
    answer = embed(name="sync", corpus=CORPUS) if name == "sync" else command(name, str(dataset), *options[name])
    assert answer.code == 2 and "it keeps a column of the corpus under the name `version`" in answer.errors, answer.errors
    assert "keep_columns: [{version: source_version}]" in answer.errors
    assert {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file()} == before


def test_the_rest_works_and_the_advice_helps(dataset: Path, embed: Embed, command: Embed) -> None:
    assert command("verify", str(dataset)).code == 0 and embed(corpus=CORPUS).code == 0
    planned = embed(name="plan", corpus=CORPUS)
    assert (planned.code, planned["sync"]) == (0, None), planned.errors
    advised = embed(name="sync", output="another", corpus={"keep_columns": [{"version": "source_version"}]})
    assert (advised.code, advised["rows"]) == (0, 3), advised.errors
