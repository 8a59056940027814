"""One rule for all readers: the manifest is the last word, and commits count only until there is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from embermill.jobs.dataset.metadata.commits import COMMITS, CommitLog
from embermill.jobs.dataset.metadata.inventory import read_inventory
from embermill.jobs.dataset.metadata.manifest import publish_manifest
from embermill.jobs.dataset.views.compare import differences
from embermill.jobs.dataset.views.search import open_for_search
from embermill.jobs.dataset.views.status import status
from embermill.jobs.errors import UsageError
from embermill.jobs.plan.files import write_plan
from embermill.jobs.storage import Folder, open_folder
from tests.jobs.sample_dataset import make_plan, write_dataset


def dataset(root: Path, *, finished: bool = True) -> Folder:
    folder, plan = open_folder(str(root)), replace(make_plan(2), config={"model.engine": "python:some.module:Engine"})
    write_plan(folder, plan)
    log, receipts = CommitLog(folder), write_dataset(root, plan)
    log.append(receipts[:4])
    if finished:
        log.append(receipts[4:])
        publish_manifest(folder, plan, log)
    return folder


def lose(path: Path) -> None:
    path.unlink()


def damage(path: Path) -> None:
    path.write_bytes(b"junk")


def shorten(path: Path) -> None:
    pq.write_table(pq.read_table(path).slice(1), path)


@pytest.mark.parametrize("edit", [lose, damage, shorten])
def test_whatever_becomes_of_its_commits_a_finished_dataset_reads_the_same(tmp_path: Path, edit: Callable[[Path], None]) -> None:
    whole, folder = dataset(tmp_path / "whole"), dataset(tmp_path / "out")
    edit(tmp_path / "out" / COMMITS / "000000001.parquet")
    found = read_inventory(folder)
    assert found.manifest and not len(found.unfinished) and found.receipts.num_rows == 6
    searched, looked = open_for_search(folder.root), status(folder)
    assert (searched.rows, len(searched.shards), searched.finished) == (496, 6, True)
    assert (looked.totals.rows_out, looked.partitions_done, looked.state) == (496, 2, "finished")
    assert differences(whole, folder) == []


def test_until_there_is_a_manifest_all_go_by_the_commits(tmp_path: Path) -> None:
    folder = dataset(tmp_path, finished=False)
    found, searched, looked = read_inventory(folder), open_for_search(str(tmp_path)), status(folder)
    assert found.manifest is None and found.unfinished.tolist() == [1]
    assert (searched.rows, len(searched.shards), searched.finished) == (looked.totals.rows_out, looked.totals.shards, False) == (346, 4, False)


def test_where_there_is_no_dataset(tmp_path: Path) -> None:
    for look in (read_inventory, status, lambda folder: open_for_search(folder.root)):
        with pytest.raises(UsageError, match="there is no dataset here"):
            look(open_folder(str(tmp_path)))
