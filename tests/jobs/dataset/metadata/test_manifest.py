from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embermill.jobs.bookkeeping.seal import sealed_json
from embermill.jobs.dataset.metadata import manifest as manifests
from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.manifest import MANIFESTS, Manifest, publish_manifest, read_manifest, summarise_provenance
from embermill.jobs.dataset.metadata.receipt_table import same_rows, to_receipts, to_table
from embermill.jobs.errors import DataError, Interrupted, MetadataDamaged
from embermill.jobs.plan.files import Plan
from embermill.jobs.storage import open_folder
from tests.jobs.dataset.metadata.test_commits import receipt
from tests.jobs.sample_dataset import PROVENANCE, make_plan, write_dataset


def finish(root: Path, plan: Plan) -> Manifest:
    log = CommitLog(open_folder(str(root)))
    log.append(write_dataset(root, plan))
    return publish_manifest(log.folder, plan, log)


def test_the_manifest_says_what_is_there(tmp_path: Path) -> None:
    plan = make_plan(2)
    manifest = finish(tmp_path, plan)
    assert read_manifest(open_folder(str(tmp_path))) == manifest and manifest.name == f"{MANIFESTS}/000001.json"
    root = json.loads((tmp_path / manifest.name).read_text())
    assert root["totals"] == manifest.totals.to_json() | {"rows_unchanged": 0}
    assert (root["totals"]["rows_in"], root["totals"]["rows_out"], root["totals"]["rows_quarantined"], root["totals"]["shards"]) == (500, 496, 4, 6)
    assert root["fingerprint"] == plan.fingerprint and root["outputs"] == [{"column": "embedding", "kind": "dense", "dtype": "float32", "dim": 4}]
    assert (root["id_stability"], root["provenance"], root["token_lengths"]["max"]) == ("column", {"worker": {PROVENANCE["worker"]: 6}}, 52)
    assert manifest.shards.column("kind").to_pylist() == ["data"] * 6 and manifest.shards.column("supersedes").null_count == 6
    assert pq.read_table(tmp_path / root["shards"]["file"]).equals(manifest.shards)


def test_some_columns_are_read_without_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(tmp_path, make_plan(2))
    whole = pq.read_table(tmp_path / f"{MANIFESTS}/000001.parquet")
    for most in (0, 1 << 20):  # bytes that are held
        monkeypatch.setattr(manifests, "MOST_BYTES_HELD", most)
        manifest = read_manifest(open_folder(str(tmp_path)))
        assert manifest is not None and manifest.columns(["rows_out", "shard"]).equals(whole.select(["rows_out", "shard"]))
        assert pa.concat_tables(manifest.pieces()).equals(whole.drop_columns(["kind", "supersedes"]))


def test_rows_that_are_damaged_later_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "MOST_BYTES_HELD", 0)
    finish(tmp_path, make_plan(2))
    manifest = read_manifest(open_folder(str(tmp_path)))
    assert manifest is not None
    rows = tmp_path / f"{MANIFESTS}/000001.parquet"
    rows.write_bytes(rows.read_bytes()[:-1] + b"!")
    with pytest.raises(MetadataDamaged, match=r"000001\.parquet: is damaged: its sha256 is not the one in"):
        manifest.columns(["shard"])
    rows.unlink()
    with pytest.raises(MetadataDamaged, match="is gone"):
        list(manifest.pieces())


@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=12), st.data())
def test_the_same_rows_however_they_are_cut(left: list[int], right: list[int], data: st.DataObject) -> None:
    def cut(rows: list[int]) -> list[pa.Table]:
        table, ends = pa.table({"row": pa.array(rows, pa.int64())}), data.draw(st.lists(st.integers(0, len(rows)), max_size=4).map(sorted))
        return [table.slice(start, end - start) for start, end in pairwise([0, *ends, len(rows)])]

    assert same_rows(cut(left), cut(right)) == (left == right) and same_rows(cut(left), cut(left))


def test_published_again_it_is_the_same_one(tmp_path: Path) -> None:
    plan = make_plan(1)
    first = finish(tmp_path, plan)
    folder = open_folder(str(tmp_path))
    assert publish_manifest(folder, plan, CommitLog(folder)) == first
    assert [path.name for path in sorted((tmp_path / MANIFESTS).iterdir())] == ["000001.json", "000001.parquet"]


def test_no_manifest_before_all_is_done(tmp_path: Path) -> None:
    plan = make_plan(2)
    receipts = write_dataset(tmp_path, plan)
    folder = open_folder(str(tmp_path))
    log = CommitLog(folder)
    log.append(receipts[:-1])
    with pytest.raises(Interrupted, match="not finished: 1 of 2 partitions, the first of them is 1"):
        publish_manifest(folder, plan, log)
    assert read_manifest(folder) is None


def test_rows_that_are_missing_are_found(tmp_path: Path) -> None:
    plan = make_plan(1)
    folder, log = open_folder(str(tmp_path)), CommitLog(open_folder(str(tmp_path)))
    log.append(write_dataset(tmp_path, plan, rows=240))
    with pytest.raises(DataError, match="its files hold 250 rows, 240 are accounted for"):
        publish_manifest(folder, plan, log)


@pytest.mark.parametrize("folder_name", ["data", "quarantine"])
def test_a_committed_file_that_is_gone_or_cut_is_found(tmp_path: Path, folder_name: str) -> None:
    plan = make_plan(1)
    folder, log = open_folder(str(tmp_path)), CommitLog(open_folder(str(tmp_path)))
    log.append(write_dataset(tmp_path, plan))
    path = min((tmp_path / folder_name).iterdir())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=f"{path.name} has .* bytes; its commit says"):
        publish_manifest(folder, plan, log)
    path.unlink()
    with pytest.raises(DataError, match=f"{path.name} is gone"):
        publish_manifest(folder, plan, log)


def test_a_parquet_file_that_is_not_ours_is_found(tmp_path: Path) -> None:
    plan = make_plan(1)
    folder, log = open_folder(str(tmp_path)), CommitLog(open_folder(str(tmp_path)))
    log.append(write_dataset(tmp_path, plan))
    (tmp_path / "data/README").write_text("no reader of Parquet minds")
    (tmp_path / "data/extra.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"data/extra.parquet: named by no commit"):
        publish_manifest(folder, plan, log)
    (tmp_path / "data/extra.parquet").unlink()
    assert publish_manifest(folder, plan, log).totals.shards == 3


def test_rows_left_by_a_run_that_died_before_its_root(tmp_path: Path) -> None:
    (tmp_path / MANIFESTS).mkdir(parents=True)
    (tmp_path / MANIFESTS / "000001.parquet").write_bytes(b"of another version")
    manifest = finish(tmp_path, make_plan(1))
    assert manifest.name == f"{MANIFESTS}/000002.json" and manifest.root["shards"]["file"] == f"{MANIFESTS}/000002.parquet"
    assert read_manifest(open_folder(str(tmp_path))) == manifest


def test_two_runs_publish_at_once(tmp_path: Path) -> None:
    plan = make_plan(1)
    folder, log = open_folder(str(tmp_path)), CommitLog(open_folder(str(tmp_path)))
    log.append(write_dataset(tmp_path, plan))

    class Late:
        """Another run publishes the same manifest just before ours."""

        def __getattr__(self, name: str) -> Any:
            return getattr(folder, name)

        def create(self, name: str, data: bytes) -> None:
            if name.endswith(".json"):
                publish_manifest(folder, plan, log)
            folder.create(name, data)

    assert publish_manifest(Late(), plan, log) == read_manifest(folder)


@pytest.mark.parametrize("name", ["000001.json", "000001.parquet"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_damaged_manifest_is_named(tmp_path: Path, name: str, share: float) -> None:
    finish(tmp_path, make_plan(1))
    path = tmp_path / MANIFESTS / name
    path.write_bytes(path.read_bytes()[: int(len(path.read_bytes()) * share)])
    with pytest.raises(DataError, match=f"{name}: is damaged"):
        read_manifest(open_folder(str(tmp_path)))


def test_totals_are_held_against_the_rows(tmp_path: Path) -> None:
    finish(tmp_path, make_plan(1))
    path = tmp_path / MANIFESTS / "000001.json"
    root = json.loads(path.read_text())
    path.write_bytes(sealed_json(root | {"totals": root["totals"] | {"rows_in": 251}}))
    with pytest.raises(DataError, match="are not the sums of its shards"):
        read_manifest(open_folder(str(tmp_path)))


def test_provenance_with_many_values_is_only_counted() -> None:
    table = to_table([receipt(number, provenance={"seconds": str(number), "host": f"h{number % 2}"}) for number in range(20)])
    assert summarise_provenance(table) == {"host": {"h0": 10, "h1": 10}, "seconds": {"": 20}}
    assert summarise_provenance(to_table([])) == {}


def test_provenance_of_each_shard_is_kept(tmp_path: Path) -> None:
    manifest = finish(tmp_path, make_plan(1))
    assert [found.provenance for found in to_receipts(manifest.shards)] == [PROVENANCE] * 3
    assert replace(next(to_receipts(manifest.shards)), provenance={}).adopted is False
