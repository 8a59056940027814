from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.completeness import unfinished
from embermill.jobs.dataset.metadata.manifest import publish_manifest
from embermill.jobs.dataset.metadata.receipt_table import to_table
from embermill.jobs.dataset.views.compare import differences
from embermill.jobs.errors import DataError
from embermill.jobs.plan.files import Plan
from embermill.jobs.receipt import Receipt
from embermill.jobs.shard.adoption import SET_ASIDE, adopt_uncommitted, set_aside
from embermill.jobs.storage import Folder, open_folder
from tests.jobs.sample_dataset import PROVENANCE, QUARANTINE, SHARD, files, make_plan, refuse, write_dataset, write_shard


def adopted(folder: Folder, plan: Plan, committed: Collection[tuple[int, int]] = frozenset()) -> list[Receipt]:
    return list(adopt_uncommitted(folder, plan, committed))


def without_history(receipts: list[Receipt]) -> list[Receipt]:
    return [replace(receipt, adopted=False, provenance={}) for receipt in receipts]


def test_a_shard_tells_its_whole_receipt(tmp_path: Path) -> None:
    plan = make_plan()
    written = write_dataset(tmp_path, plan)
    found = adopted(open_folder(str(tmp_path)), plan)
    assert without_history(found) == without_history(written)
    assert all(receipt.adopted and receipt.provenance == {} for receipt in found) and any(receipt.last for receipt in found)


def test_what_a_commit_names_is_not_read_again(tmp_path: Path) -> None:
    plan = make_plan()
    written = write_dataset(tmp_path, plan)
    for receipt in written[2:]:
        (tmp_path / str(receipt.shard)).write_bytes(b"committed, so not looked at")
    found = adopted(open_folder(str(tmp_path)), plan, frozenset((receipt.partition, receipt.ordinal) for receipt in written[2:]))
    assert [(receipt.partition, receipt.ordinal) for receipt in found] == [(0, 0), (0, 1)]


def test_a_partition_of_refused_rows_is_adopted_from_its_quarantine_file_alone(tmp_path: Path) -> None:
    folder, plan = open_folder(str(tmp_path)), make_plan(1)
    refused = [refuse(100, row_count=30, reason="corrupt_row_group")]
    written = [write_shard(folder, plan, last=False), write_shard(folder, plan, ordinal=1, rows=30, refused=refused)]
    found = adopted(folder, plan)
    assert without_history(found) == without_history(written) and (found[1].shard, found[1].last) == (None, True)
    assert not len(unfinished(plan, to_table(found)))


@pytest.mark.parametrize("lost", [SHARD, QUARANTINE])
def test_half_a_pair_is_left_to_the_worker_who_makes_the_other_half(tmp_path: Path, lost: str) -> None:
    folder, plan = open_folder(str(tmp_path)), make_plan(1)
    written = write_shard(folder, plan, refused=[refuse(5)])
    (tmp_path / lost).unlink()
    assert adopted(folder, plan) == []
    assert replace(write_shard(folder, plan, refused=[refuse(5)]), adopted=False) == written


def test_a_quarantine_file_before_its_shard_is_published_is_no_receipt(tmp_path: Path) -> None:
    """The quarantine file says how many rows its shard has: without that shard it stands for nothing yet."""
    folder, plan = open_folder(str(tmp_path)), make_plan(1)
    write_shard(folder, plan, refused=[refuse(0, row_count=99, reason="corrupt_row_group")], batch_rows=100)
    (tmp_path / SHARD).unlink()
    assert adopted(folder, plan) == []


def torn(data: bytes) -> bytes:
    return data[: len(data) // 2]


def empty(data: bytes) -> bytes:
    return b""


def flipped(data: bytes) -> bytes:
    middle = len(data) // 4
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("damage", [torn, empty, flipped])
@pytest.mark.parametrize("name", [SHARD, QUARANTINE])
def test_a_torn_file_does_not_wedge_the_job(tmp_path: Path, name: str, damage: Callable[[bytes], bytes]) -> None:
    folder, plan = open_folder(str(tmp_path)), make_plan(1)
    written = write_shard(folder, plan, refused=[refuse(5)])
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(damage(whole))
    assert adopted(folder, plan) == [] and not (tmp_path / name).exists()
    (kept,) = (tmp_path / SET_ASIDE).iterdir()
    assert kept.read_bytes() == damage(whole)
    again = write_shard(folder, plan, refused=[refuse(5)])
    assert replace(again, adopted=False) == written and (tmp_path / name).read_bytes() == whole
    assert not [file for file in files(tmp_path) if "tmp" in file]


def test_a_file_that_became_whole_meanwhile_is_not_removed(tmp_path: Path) -> None:
    """A zombie on a store without atomic publishing may still be writing while we copy."""
    folder, plan = open_folder(str(tmp_path)), make_plan(1)
    write_shard(folder, plan)
    whole = (tmp_path / SHARD).read_bytes()
    (tmp_path / SHARD).write_bytes(torn(whole))

    class Finishing:
        """The same folder; the zombie finishes its file as soon as ours is set aside."""

        def __getattr__(self, name: str) -> Any:
            return getattr(folder, name)

        def publish(self, temporary: Path, name: str) -> None:
            folder.publish(temporary, name)
            (tmp_path / SHARD).write_bytes(whole)

    set_aside(Finishing(), SHARD)
    assert (tmp_path / SHARD).read_bytes() == whole


@pytest.mark.parametrize("name", ["data/part-000000007-000-07070707.parquet", "data/part-000000000-000-12345678.parquet"])
def test_a_shard_of_another_corpus_is_refused_by_name(tmp_path: Path, name: str) -> None:
    folder, plan = open_folder(str(tmp_path)), make_plan(1)
    write_shard(folder, plan)
    (tmp_path / SHARD).rename(tmp_path / name)
    with pytest.raises(DataError, match=f"{name} belongs to no partition of this plan"):
        adopted(folder, plan)


def test_a_shard_of_other_settings_is_refused_with_the_keys(tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path))
    write_shard(folder, make_plan(1, fingerprint={"model.weights": "old"}))
    with pytest.raises(DataError, match=r"made with other settings: model.max_tokens: unset -> 256, model.weights: old -> abc"):
        adopted(folder, make_plan(1))
    assert (tmp_path / SHARD).exists()


def test_a_pair_of_two_runs_is_refused(tmp_path: Path) -> None:
    folder, plan = open_folder(str(tmp_path)), make_plan(1)
    write_shard(folder, plan, refused=[refuse(5)])
    quarantine = (tmp_path / QUARANTINE).read_bytes()
    for name in (SHARD, QUARANTINE):
        (tmp_path / name).unlink()
    write_shard(folder, plan, refused=[refuse(5), refuse(6)])
    (tmp_path / QUARANTINE).write_bytes(quarantine)
    with pytest.raises(DataError, match="count the rows differently"):
        adopted(folder, plan)


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    plan = make_plan(1)
    write_dataset(tmp_path, plan)
    (tmp_path / "data/README").write_text("mine")
    assert len(adopted(open_folder(str(tmp_path)), plan)) == 3 and (tmp_path / "data/README").exists()


# -- killed at every step


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


class DyingFolder:
    """A folder whose process dies at the n-th call that changes it, before or after it took effect."""

    def __init__(self, folder: Folder, die_at: int, after: bool) -> None:
        self._folder, self._die_at, self._after, self.calls = folder, die_at, after, 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._folder, name)
        if name not in ("publish", "create", "remove", "temporary"):
            return method

        def call(*arguments: Any) -> Any:
            self.calls += 1
            if self.calls == self._die_at and not self._after:
                raise Killed
            result = method(*arguments)
            if self.calls == self._die_at:
                raise Killed
            return result

        return call


def run(folder: Folder, plan: Plan) -> None:
    """A whole job: adopt, write what is missing, commit each, publish the manifest."""
    log = CommitLog(folder)
    log.append(adopted(folder, plan, log.committed))
    for number in unfinished(plan, log.table()).tolist():
        for ordinal in range(2):
            if (number, ordinal) not in log.committed:
                start = ordinal * plan.rows_per_shard
                receipt = write_shard(folder, plan, number, ordinal, rows=(100, 30)[ordinal], last=ordinal == 1, refused=[refuse(start + 2)])
                log.append([receipt])
    publish_manifest(folder, plan, log)


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_every_step_the_next_run_ends_equal_to_an_undisturbed_one(tmp_path: Path, after: bool) -> None:
    plan = make_plan(1, rows=130)
    undisturbed = open_folder(str(tmp_path / "undisturbed"))
    counting = DyingFolder(undisturbed, -1, after)
    run(counting, plan)
    assert counting.calls >= 12
    for step in range(1, counting.calls + 1):
        folder = open_folder(str(tmp_path / f"{step}"))
        with pytest.raises(Killed):
            run(DyingFolder(folder, step, after), plan)
        run(folder, plan)
        assert differences(undisturbed, folder) == [], step
        published = [name for name in files(tmp_path / f"{step}") if not name.startswith("_embermill")]
        assert published == [name for name in files(tmp_path / "undisturbed") if not name.startswith("_embermill")]


def test_a_zombie_that_publishes_after_the_look_is_adopted_by_the_worker(tmp_path: Path) -> None:
    folder, plan = open_folder(str(tmp_path)), make_plan(1)
    assert adopted(folder, plan) == []
    zombie = write_shard(folder, plan, refused=[refuse(5)])
    ours = write_shard(folder, plan, refused=[refuse(5)])
    assert ours == replace(zombie, adopted=True)
    assert write_shard(folder, plan, refused=[refuse(5)]).provenance == PROVENANCE
    assert pq.read_metadata(tmp_path / SHARD).num_rows == 99


def test_an_object_store_adopts_and_sets_aside_alike(s3_folder_url: str, put_object: Callable[[str, bytes], None]) -> None:
    folder, plan = open_folder(s3_folder_url), make_plan(1)
    first = write_shard(folder, plan, refused=[refuse(5)])
    assert write_shard(folder, plan, refused=[refuse(5)]) == replace(first, adopted=True)
    assert without_history(adopted(folder, plan)) == without_history([first])
    whole = folder.read(SHARD)
    put_object(f"{s3_folder_url}/{SHARD}", torn(whole))
    assert adopted(folder, plan) == [] and not folder.exists(SHARD)
    assert write_shard(folder, plan, refused=[refuse(5)]) == first and folder.read(SHARD) == whole
    assert [name for name, _ in folder.list(SET_ASIDE)]
