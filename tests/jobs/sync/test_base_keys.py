"""Keys of what a run made: the same whether one task makes them or many, and whoever was killed meanwhile."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from embermill.jobs.dataset.metadata import keys as key_files
from embermill.jobs.dataset.metadata.keys import all_live_keys
from embermill.jobs.dataset.metadata.versions import read_first
from embermill.jobs.difference import base_keys
from embermill.jobs.difference.base_keys import key_tasks, split_name, with_keys
from embermill.jobs.storage import open_folder
from embermill.jobs.sync.job import sync
from embermill.jobs.worker.steps import Steps
from tests.jobs.sync.corpus import Corpus, configure, row

ROWS = 40  # of `embedded`


def keys_of(root: Path) -> pa.Table:
    version = with_keys(folder := open_folder(str(root)), read_first(open_folder(str(root))))
    return pa.concat_tables(keys for _, keys in all_live_keys(folder, version, pa.string())).sort_by("id")


@pytest.fixture
def whole(tmp_path: Path, embedded: Corpus, monkeypatch: pytest.MonkeyPatch) -> pa.Table:
    """The keys as one task makes them; they are gone again, and from now on tasks are small."""
    embedded.write("a.jsonl", [row("a0", "another text"), *embedded.files["a.jsonl"][1:]])
    output = tmp_path / "out"
    kept = tmp_path / "kept"
    output.rename(kept)
    shutil.copytree(kept, output)
    sync(configure(tmp_path))
    keys = keys_of(output)
    assert key_tasks(read_first(open_folder(str(output)))).splits == () and keys.num_rows == ROWS
    shutil.rmtree(output)
    kept.rename(output)
    monkeypatch.setattr(key_files, "ROWS_PER_BUCKET", 5)
    monkeypatch.setattr(base_keys, "ROWS_AT_ONCE", 15)
    monkeypatch.setattr(base_keys, "ROWS_PER_SPLIT", 10)
    return keys


def test_many_tasks_make_the_same_keys(tmp_path: Path, whole: pa.Table) -> None:
    folder = open_folder(str(tmp_path / "out"))
    tasks = key_tasks(read_first(folder))
    assert len(tasks.ranges) == 3 and len(tasks.splits) > 1 and [file for files in tasks.splits for file in files] == [*read_first(folder).files]
    assert (tasks.ranges[0].first, tasks.ranges[-1].end, tasks.ranges[0].buckets) == (0, 8, 8)
    summary = sync(configure(tmp_path))
    assert (summary.action, summary.texts_embedded, summary.files["scanned"]) == ("committed", 1, 1)
    assert keys_of(tmp_path / "out").equals(whole)
    assert not any(folder.exists(split_name(1, number)) for number in range(len(tasks.splits))), "what keys were made from is gone"


def test_whoever_was_killed_begins_where_it_was(tmp_path: Path, whole: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    made, publish = list[str](), Steps._publish

    def killed(steps: Steps, task: object) -> object:
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(str(task))
        return publish(steps, task)  # type: ignore[arg-type]

    monkeypatch.setattr(Steps, "_publish", killed)
    with pytest.raises(KeyboardInterrupt):
        sync(configure(tmp_path))
    begun = [*made]
    monkeypatch.setattr(Steps, "_publish", lambda steps, task: (made.append(str(task)), publish(steps, task))[1])
    assert sync(configure(tmp_path)).action == "committed" and not set(begun) & set(made[len(begun) :])
    assert keys_of(tmp_path / "out").equals(whole)
