"""The README's query, as it stands there, on each version that a dataset can have."""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path

import duckdb
import pytest

import embermill
from embermill.jobs import cli
from tests.documents import README, blocks
from tests.jobs.histories.world import World
from tests.jobs.sample_dataset import DIM
from tests.jobs.versions.test_engines import save

QUERY = next(block.text for block in blocks(README) if block.language == "sql")
PRINTED = re.search(r"^embermill (files notes --sql duckdb) > notes\.sql", README.read_text(), re.MULTILINE)


def call(*arguments: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert cli.main([*arguments]) == 0
    return out.getvalue()


def found_in(folder: Path) -> set[str]:
    """Ids that the README's lines give beside a dataset called notes: with as many numbers as this one has, another row asked for, and all of them."""
    rows = sorted(embermill.open_dataset(str(folder / "notes")).read_all().column("id").to_pylist())
    assert PRINTED is not None
    (folder / "notes.sql").write_text(call(*PRINTED[1].split()))
    query = QUERY.replace("384", str(DIM)).replace("id = 1", f"id = '{rows[0]}'").replace("LIMIT 5", "")
    found = duckdb.connect().sql(query)
    assert found is not None
    scores = dict(found.fetchall())
    assert sorted(scores) == rows and scores[rows[0]] == max(scores.values()) == pytest.approx(1)
    return {*rows}


def test_the_query_of_the_readme_reads_every_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    world = World(5)
    save(world, tmp_path / "notes")
    found_in(tmp_path)
    world.sync()
    world.abandon()
    save(world, tmp_path / "notes")
    for command in (["compact"], ["rollback", "--to", "1"]):
        call(command[0], "notes", *command[1:])
        found_in(tmp_path)
    for path in (tmp_path / "notes").rglob("*"):
        os.utime(path, (1, 1))
    call("gc", "notes", "--keep-versions", "1")
    gone = min(found_in(tmp_path))
    Path("ids").write_text(f"{gone}\n")
    call("erase", "notes", "--ids", "ids")
    assert not [*(tmp_path / "notes/data").glob("*.parquet")] and gone not in found_in(tmp_path)
