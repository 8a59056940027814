"""Datasets of format 1: the first sync upgrades them, and nothing of them is embedded again."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.jobs import golden_datasets as golden
from tests.jobs.command_line import Answer
from tests.jobs.golden_datasets import OldDataset
from tests.jobs.sync.corpus import live_rows


@pytest.mark.parametrize("name", [name for name in golden.FINISHED if name not in golden.LIMITED])
def test_the_first_sync_upgrades_it(name: str, old_dataset: Callable[[str], OldDataset], command: Callable[..., Answer]) -> None:
    old = old_dataset(name)
    data = {path: path.read_bytes() for path in (old.folder / "data").glob("*.parquet")}
    before = json.loads((old.folder / "_embermill/format.json").read_text())
    answer = command("sync", str(old.config), "--rescan")
    if answer.code == 2:
        assert "sync needs ids that stay with their rows" in answer.errors
        assert json.loads((old.folder / "_embermill/format.json").read_text()) == before
        return
    assert answer.code == 0, answer.errors
    assert (answer["version"], answer["texts_embedded"], answer["rows"]) == (2, 0, old.answers["rows"])
    assert "0.2.0" in str(json.loads((old.folder / "_embermill/format.json").read_text())["format_version"])
    assert {path: path.read_bytes() for path in data} == data
    assert command("sync", str(old.config))["action"] == "nothing" and command("verify", str(old.folder)).code == 0
    assert len(live_rows(str(old.folder))) == old.answers["rows"]
