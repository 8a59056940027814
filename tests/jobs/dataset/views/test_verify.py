from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.bookkeeping.seal import sealed_json
from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.manifest import publish_manifest
from embermill.jobs.dataset.views.verify import verify
from embermill.jobs.dataset.views.verify_report import VerifyFailed, VerifyReport
from embermill.jobs.errors import EXIT_DATA, UsageError
from embermill.jobs.plan.files import Plan, write_plan
from embermill.jobs.shard.writer import ShardWriter
from embermill.jobs.storage import open_folder
from tests.jobs.command_line import command
from tests.jobs.damage import drop_a_row, not_finite, other_ids, rewrite, short_hashes
from tests.jobs.sample_dataset import PROVENANCE, embed, make_batch, make_plan, write_dataset

SHARD = "data/part-000000001-000-01010101.parquet"
QUARANTINE = "quarantine/part-000000001-000-01010101.parquet"
NORMALISED = {"model.weights": "abc", "model.normalize": "true"}


def dataset(root: Path, plan: Plan | None = None, *, finished: bool = True) -> Path:
    plan = plan or make_plan(2, fingerprint=NORMALISED)
    folder = open_folder(str(root))
    write_plan(folder, plan)
    log = CommitLog(folder)
    log.append(write_dataset(root, plan))
    if finished:
        publish_manifest(folder, plan, log)
    return root


def check(root: Path) -> VerifyReport:
    return verify(open_folder(str(root)))


def failed(root: Path) -> VerifyReport:
    with pytest.raises(VerifyFailed) as error:
        check(root)
    assert error.value.exit_code == EXIT_DATA
    return error.value.report


@pytest.mark.parametrize("committed", [True, False])
def test_a_run_that_is_not_finished_is_nothing_to_publish(tmp_path: Path, committed: bool) -> None:
    """Sound or not: the exit code is that of a run to be resumed, and the answer is beside the error."""
    if committed:
        dataset(tmp_path, finished=False)
    else:
        write_plan(open_folder(str(tmp_path)), make_plan(2, fingerprint=NORMALISED))
    answer = command("verify", str(tmp_path))
    assert answer.code == answer["error"]["exit_code"] == 33 and (answer["ok"], answer["finished"], answer["damaged"]) == (False, False, 0)
    assert ("What is committed so far is sound: " in answer.errors) == committed and answer["unfinished"] in answer.errors


@pytest.mark.parametrize("finished", [True, False])
def test_a_whole_dataset_verifies_and_nothing_is_written(tmp_path: Path, finished: bool) -> None:
    dataset(tmp_path, finished=finished)
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    seen: list[tuple[int, int]] = []
    report = verify(open_folder(str(tmp_path)), lambda done, total: seen.append((done, total)))
    assert report.to_json()["ok"] == report.to_json()["finished"] == finished and report.totals.rows_out == 496
    assert seen == [(done, 6) for done in range(1, 7)]
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before
    assert [line for line in report.lines() if finished] == []


def test_where_there_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no dataset here"):
        check(tmp_path)


def test_a_flipped_bit_anywhere_is_found(tmp_path: Path) -> None:
    dataset(tmp_path)
    for name in (SHARD, QUARANTINE):
        whole = (tmp_path / name).read_bytes()
        for place in range(0, len(whole), len(whole) // 12):
            (tmp_path / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            assert {damage.file for damage in failed(tmp_path).findings.damage.items} == {name}, place
        (tmp_path / name).write_bytes(whole)
    assert check(tmp_path)


@pytest.mark.parametrize("name", [SHARD, QUARANTINE])
def test_a_file_that_is_gone_or_cut_is_named(tmp_path: Path, name: str) -> None:
    dataset(tmp_path)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    assert [damage.file for damage in failed(tmp_path).findings.damage.items] == [name]
    (tmp_path / name).unlink()
    (damage,) = failed(tmp_path).findings.damage.items
    assert (damage.file, damage.what) == (name, "is gone")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    dataset(tmp_path)
    (tmp_path / SHARD).unlink()
    (tmp_path / SHARD).mkdir()
    (damage,) = failed(tmp_path).findings.damage.items
    assert (damage.file, damage.what) == (SHARD, "cannot be read: Is a directory")


def scale(table: pa.Table) -> pa.Table:
    field = table.schema.field("embedding")
    values = table.column("embedding").combine_chunks().flatten().to_numpy() * 2
    return table.set_column(1, field, pa.FixedSizeListArray.from_arrays(values, type=field.type))


@pytest.mark.parametrize(
    ("edit", "message"),
    [(drop_a_row, "holds 97 rows"), (not_finite, "not finite"), (short_hashes, "32 hex digits"), (other_ids, "first_id"), (scale, "a vector of length 2")],
)
def test_content_is_judged_beside_the_checksum(tmp_path: Path, edit: Callable[[pa.Table], pa.Table], message: str) -> None:
    """A file rewritten by somebody else is whole as Parquet, and its own checksums are right."""
    dataset(tmp_path)
    rewrite(tmp_path / SHARD, edit)
    found = failed(tmp_path).findings.damage.items
    assert {damage.file for damage in found} == {SHARD} and any(message in damage.what for damage in found)


def test_length_one_is_asked_for_only_where_the_model_normalises(tmp_path: Path) -> None:
    dataset(tmp_path, make_plan(2))
    rewrite(tmp_path / SHARD, scale)
    assert not any("length" in damage.what for damage in failed(tmp_path).findings.damage.items)


def test_a_column_more_is_damage(tmp_path: Path) -> None:
    dataset(tmp_path)
    rewrite(tmp_path / SHARD, lambda table: table.append_column("extra", pa.array([1] * table.num_rows)))
    (damage,) = failed(tmp_path).findings.damage.items
    assert "its schema is not the plan's" in damage.what and "extra" in damage.what


def test_shards_that_changed_places_are_found(tmp_path: Path) -> None:
    dataset(tmp_path)
    (tmp_path / SHARD).rename(tmp_path / "other")
    other = "data/part-000000001-001-01010101.parquet"
    (tmp_path / other).rename(tmp_path / SHARD)
    (tmp_path / "other").rename(tmp_path / other)
    found = failed(tmp_path).findings.damage.items
    assert {damage.file for damage in found} == {SHARD, other} and all("ordinal" in damage.what for damage in found)


def test_duplicate_ids_are_listed_with_their_places(tmp_path: Path) -> None:
    plan = make_plan(2)
    folder = open_folder(str(tmp_path))
    write_plan(folder, plan)
    log = CommitLog(folder)
    for number in range(2):
        for ordinal in range(3):
            batch = make_batch(ordinal * 100, 50 if ordinal == 2 else 100, prefix=f"p{number}" if ordinal else "both")
            with ShardWriter(folder, plan, plan.partitions[number], ordinal) as writer:
                writer.write(batch, embed(batch))
                log.append([writer.finish(ordinal == 2, PROVENANCE)])
    publish_manifest(folder, plan, log)
    report = failed(tmp_path)
    assert (report.findings.duplicates.count, report.findings.duplicate_rows, report.findings.damage.count) == (100, 100, 0)
    listed = {duplicate.id: duplicate.places for duplicate in report.findings.duplicates.items}
    assert listed["both-42"] == (("data/part-000000000-000-00000000.parquet", 42), (SHARD, 42))
    assert "'both-" in "\n".join(report.lines()) and "and 90 more" in "\n".join(report.lines())


def test_files_that_nothing_names_are_reported_and_harmless(tmp_path: Path) -> None:
    dataset(tmp_path)
    (tmp_path / "data/zombie.parquet").write_bytes(b"")
    (tmp_path / "quarantine/note.txt").write_text("mine")
    report = check(tmp_path)
    assert report.findings.unnamed.items == ["data/zombie.parquet", "quarantine/note.txt"] and report.to_json()["ok"]


@pytest.mark.parametrize(("edit", "message"), [(lambda file: file.write_bytes(b"junk"), "damaged"), (Path.unlink, "lack 6 of the 6 receipts")])
def test_commits_that_a_run_could_not_go_by_are_damage_of_a_finished_dataset_too(tmp_path: Path, edit: Callable[[Path], Any], message: str) -> None:
    name = "_embermill/commits/000000001.parquet"
    edit(dataset(tmp_path) / name)
    (damage,) = failed(tmp_path).findings.damage.items
    assert name.startswith(damage.file) and message in damage.what and damage.remedy


def test_a_manifest_of_another_fingerprint_is_found(tmp_path: Path) -> None:
    dataset(tmp_path)
    path = tmp_path / "_embermill/manifests/000001.json"
    path.write_bytes(sealed_json(json.loads(path.read_text().replace('"abc"', '"other"'))))
    (damage,) = failed(tmp_path).findings.damage.items
    assert damage.what == "is of another plan: its fingerprint is not this one's"


def test_it_needs_no_right_to_write_and_writes_nothing(tmp_path: Path) -> None:
    """Root may write anywhere: that nothing was written is then told by the folders' own times alone."""
    dataset(tmp_path)
    everything = [tmp_path, *tmp_path.rglob("*")]
    for path in everything:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_mtime_ns for path in everything}
    try:
        assert check(tmp_path)
        assert {path: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.rglob("*")]} == before
    finally:
        for path in everything:
            path.chmod(0o755)


def test_an_object_store(tmp_path: Path, s3_folder_url: str, put_object: Callable[[str, bytes], None]) -> None:
    dataset(tmp_path)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            put_object(f"{s3_folder_url}/{path.relative_to(tmp_path).as_posix()}", path.read_bytes())
    assert verify(open_folder(s3_folder_url)).totals.rows_out == 496
    put_object(f"{s3_folder_url}/{SHARD}", (tmp_path / SHARD).read_bytes()[:-5])
    with pytest.raises(VerifyFailed, match=SHARD):
        verify(open_folder(s3_folder_url))


def test_the_report_is_bounded_and_counts_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.dataset.views.verify_report.MAX_LISTED", 2)
    dataset(tmp_path)
    for path in (tmp_path / "data").iterdir():
        path.unlink()
    answer: dict[str, Any] = failed(tmp_path).to_json()
    assert (answer["damaged"], len(answer["damage"]), answer["ok"]) == (6, 2, False)
    assert pq.read_metadata(tmp_path / QUARANTINE).num_rows == 2
