from __future__ import annotations

from pathlib import Path

import pytest

from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.manifest import publish_manifest
from embermill.jobs.dataset.views.compare import differences, row_differences
from embermill.jobs.plan.files import Plan
from embermill.jobs.storage import Folder, open_folder
from tests.jobs.sample_dataset import make_plan, write_dataset, write_shard


def dataset(root: Path, plan: Plan, rows: int = 250, finished: bool = True) -> Folder:
    log = CommitLog(open_folder(str(root)))
    log.append(write_dataset(root, plan, rows=rows))
    if finished:
        publish_manifest(log.folder, plan, log)
    return log.folder


def test_two_runs_of_one_job_are_equal_finished_or_not(tmp_path: Path) -> None:
    one, other = dataset(tmp_path / "a", make_plan()), dataset(tmp_path / "b", make_plan(), finished=False)
    assert differences(one, other) == [] and row_differences(one, other) == []


def test_a_missing_shard_and_another_fingerprint_are_differences(tmp_path: Path) -> None:
    one, other = dataset(tmp_path / "a", make_plan(2)), dataset(tmp_path / "b", make_plan(1))
    assert differences(one, other) == [f"partition 1 shard {number} is only in {one.root}" for number in range(3)]
    assert row_differences(one, other) == ["only one of them goes on from row 248"]
    settings = dataset(tmp_path / "c", make_plan(1, fingerprint={"model.weights": "other"}))
    found = differences(other, settings)
    assert any("shard_sha256" in line for line in found) and not any("tokens" in line for line in found)
    assert row_differences(other, settings) == []


def test_rows_are_compared_however_they_are_cut(tmp_path: Path) -> None:
    one, other = dataset(tmp_path / "a", make_plan(2)), dataset(tmp_path / "b", make_plan(2, rows_per_shard=33))
    assert differences(one, other) and row_differences(one, other) == []


@pytest.mark.parametrize("column", ["id", "lang", "embedding", "text_hash"])
def test_a_differing_row_is_named(tmp_path: Path, column: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(1, rows_per_shard=300)
    folders = []
    for name in ("a", "b"):
        folder = open_folder(str(tmp_path / name))
        CommitLog(folder).append([write_shard(folder, plan, rows=30)])
        folders.append(folder)
    import embermill.jobs.dataset.views.compare

    rows = embermill.jobs.dataset.views.compare._all_rows

    def altered(folder: Folder):  # type: ignore[no-untyped-def]
        for table in rows(folder):
            if folder.root.endswith("b"):
                swapped = table.column(column).take([0, 1, 5, 3, 4, 2, *range(6, table.num_rows)])
                table = table.set_column(table.schema.get_field_index(column), table.schema.field(column), swapped)
            yield table

    monkeypatch.setattr(embermill.jobs.dataset.views.compare, "_all_rows", altered)
    found = row_differences(*folders)
    assert found and all(f"row {row}, {column}:" in line for row, line in zip((2, 5), found, strict=False))
    if column == "embedding":
        assert row_differences(*folders, tolerance=3.0) == []
