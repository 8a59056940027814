"""A shard or quarantine file where something stands already: adopted, refused or set aside, and told from one another."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from embermill.jobs.errors import DataError, Interrupted
from embermill.jobs.plan.files import Plan
from embermill.jobs.receipt import Receipt
from embermill.jobs.shard.writer import ShardWriter
from embermill.jobs.storage import open_folder
from tests.jobs.damage import drop_a_row, not_finite, other_ids, rewrite, short_hashes
from tests.jobs.sample_dataset import QUARANTINE, SHARD, embed, files, make_batch, make_plan, refuse, write_shard


def test_the_same_shard_is_adopted_as_it_is(tmp_path: Path) -> None:
    folder, plan = open_folder(str(tmp_path)), make_plan()
    first = write_shard(folder, plan, refused=[refuse(3)])
    inode = (tmp_path / SHARD).stat().st_ino
    second = write_shard(folder, plan, refused=[refuse(3)])
    assert second == replace(first, adopted=True) and (tmp_path / SHARD).stat().st_ino == inode and files(tmp_path) == [SHARD, QUARANTINE]


def test_other_bytes_of_the_same_rows_are_adopted_and_described(tmp_path: Path) -> None:
    folder, plan = open_folder(str(tmp_path)), make_plan()
    first = write_shard(folder, plan)
    rewrite(tmp_path / SHARD, compression="gzip")
    second = write_shard(folder, plan)
    assert second.adopted and second.shard_sha256 != first.shard_sha256 and second.shard_bytes == (tmp_path / SHARD).stat().st_size
    assert (second.tokens, second.first_id, second.token_lengths, second.provenance) == (first.tokens, first.first_id, first.token_lengths, {})


def test_other_rows_under_the_same_name_are_bad_data(tmp_path: Path) -> None:
    folder, plan = open_folder(str(tmp_path)), make_plan()
    write_shard(folder, plan)
    rewrite(tmp_path / SHARD, other_ids)
    with pytest.raises(DataError, match=rf"{SHARD}.*other ids"):
        write_shard(folder, plan)
    assert SHARD in files(tmp_path) and not [name for name in files(tmp_path) if "tmp" in name]


def test_more_rows_under_the_same_name_are_bad_data(tmp_path: Path) -> None:
    folder, plan = open_folder(str(tmp_path)), make_plan()
    write_shard(folder, plan, rows=50)
    with pytest.raises(DataError, match=r"rows_in = 50, now 60"):
        write_shard(folder, plan, rows=60)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (make_plan(fingerprint={"model.weights": "abc", "model.max_tokens": "16"}), "model.max_tokens: 16 -> 256"),
        (make_plan(rows_per_shard=101), "plan ="),
        (replace(make_plan(), rows=replace(make_plan().rows, text_columns=("title",))), "plan ="),
    ],
)
def test_a_shard_of_another_plan_is_refused_with_the_difference(tmp_path: Path, other: Plan, message: str) -> None:
    folder = open_folder(str(tmp_path))
    write_shard(folder, other)
    with pytest.raises(DataError, match=message):
        write_shard(folder, make_plan())


def test_a_file_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    folder, plan = open_folder(str(tmp_path)), make_plan()
    write_shard(folder, plan)
    pq.write_table(pq.read_table(tmp_path / SHARD).replace_schema_metadata(None), tmp_path / SHARD)
    with pytest.raises(DataError, match="not one of ours"):
        write_shard(folder, plan)


@pytest.mark.parametrize("damage", [drop_a_row, not_finite, short_hashes, None, b"", b"PAR1"])
def test_a_damaged_shard_is_transient_and_left_for_the_next_run(tmp_path: Path, damage: Any) -> None:
    folder, plan = open_folder(str(tmp_path)), make_plan()
    write_shard(folder, plan)
    if callable(damage):
        rewrite(tmp_path / SHARD, damage)
    else:
        data = (tmp_path / SHARD).read_bytes()
        (tmp_path / SHARD).write_bytes(data[: len(data) // 2] if damage is None else damage)
    with pytest.raises(Interrupted, match=rf"{SHARD} already exists and is damaged.*Run again"):
        write_shard(folder, plan)


def test_a_quarantine_file_in_other_words_is_adopted(tmp_path: Path) -> None:
    folder, plan = open_folder(str(tmp_path)), make_plan()
    with ShardWriter(folder, plan, plan.partitions[0], 0) as writer:
        batch = make_batch(0, 10, prefix="p0", refused=[replace(refuse(3), error="in other words")])
        writer.write(batch, embed(batch))
        writer.finish(True, {})
    (tmp_path / SHARD).unlink()
    receipt = write_shard(folder, plan, rows=10, refused=[refuse(3)])
    assert pq.read_table(tmp_path / QUARANTINE).column("error").to_pylist() == ["in other words"]
    assert not receipt.adopted and receipt.quarantine_bytes == (tmp_path / QUARANTINE).stat().st_size


def test_a_quarantine_file_with_other_rows_is_bad_data(tmp_path: Path) -> None:
    folder, plan = open_folder(str(tmp_path)), make_plan()
    write_shard(folder, plan, rows=10, refused=[refuse(3)])
    (tmp_path / SHARD).unlink()
    with pytest.raises(DataError, match=QUARANTINE):
        write_shard(folder, plan, rows=10, refused=[refuse(4)])
    assert SHARD not in files(tmp_path)


def race(root: str, ready: Any, results: Any, threads: int) -> None:
    plan, folder = make_plan(rows_per_shard=2000), open_folder(root)
    ready.wait(30)
    results.put(write_shard(folder, plan, rows=1000, refused=[refuse(5)], batch_rows=threads))


def test_two_processes_race_and_both_tell_of_the_same_shard(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(2), context.Queue()
    racers = [context.Process(target=race, args=(str(tmp_path), ready, results, 100 + n)) for n in range(2)]
    for racer in racers:
        racer.start()
    receipts: list[Receipt] = [results.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join(60)
    assert [racer.exitcode for racer in racers] == [0, 0] and sorted(receipt.adopted for receipt in receipts) == [False, True]
    assert replace(receipts[0], adopted=False) == replace(receipts[1], adopted=False) and files(tmp_path) == [SHARD, QUARANTINE]
