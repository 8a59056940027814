from __future__ import annotations

import tempfile
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embermill.jobs.dataset.metadata import commits
from embermill.jobs.dataset.metadata.commits import COMMITS, REPLACES, CommitLog, digest_of, last_token
from embermill.jobs.dataset.metadata.receipt_table import sum_lengths, sum_receipts, to_receipts, to_table
from embermill.jobs.errors import AnotherRun, DataError
from embermill.jobs.receipt import Receipt
from embermill.jobs.storage import AlreadyExists, open_folder
from embermill.jobs.token_lengths import merge_lengths
from tests.jobs.stores.memory import MemoryFolder


def receipt(partition: int = 0, ordinal: int = 0, *, last: bool = True, **changes: Any) -> Receipt:
    name = f"part-{partition:09d}-{ordinal:03d}-00000000.parquet"
    whole = Receipt(
        partition=partition, ordinal=ordinal, partition_id="00" * 8, last=last, rows_in=10, rows_out=9, rows_quarantined=1, shard=f"data/{name}",
        shard_bytes=100, shard_sha256="ab" * 32, quarantine=f"quarantine/{name}", quarantine_bytes=10, quarantine_sha256="cd" * 32, first_id="a", last_id="b",
        documents=9, tokens=90, tokens_dropped=2, rows_truncated=1, token_lengths=((8, 4), (12, 5)), adopted=False,
        provenance={"worker": "0", "seconds": "1.5"},
    )  # fmt: skip
    return replace(whole, **changes)


REFUSED: dict[str, Any] = {"shard": None, "shard_bytes": 0, "shard_sha256": "", "rows_out": 0, "rows_quarantined": 10, "documents": 0, "tokens": 0,
                           "tokens_dropped": 0, "rows_truncated": 0, "token_lengths": (), "first_id": None, "last_id": None}  # fmt: skip


def test_receipts_survive_the_table() -> None:
    receipts = [receipt(0, 0), receipt(0, 1, **REFUSED), receipt(1, provenance={})]
    assert list(to_receipts(to_table(receipts))) == receipts and list(to_receipts(to_table([]))) == []


@given(st.lists(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 9)), max_size=3).map(tuple), max_size=150), st.integers(0, 150))
def test_receipts_survive_the_table_in_pieces(lengths: list[tuple[tuple[int, int], ...]], first: int) -> None:
    receipts = [receipt(number, token_lengths=each) for number, each in enumerate(lengths)]
    assert list(to_receipts(to_table(receipts).slice(first))) == receipts[first:]
    assert sum_lengths(to_table(receipts).slice(first)) == merge_lengths(lengths[first:])


@pytest.mark.long
def test_many_receipts_never_stand_in_memory_as_python_objects() -> None:
    """A thousand receipts of a hundred length buckets: their lengths alone would be over ten million bytes of tuples."""
    lengths = tuple((1000 + bucket, 1000 + bucket) for bucket in range(100))
    receipts = [receipt(number, token_lengths=lengths) for number in range(1000)]
    assert list(to_receipts(to_table(receipts[:1]))) == receipts[:1] and sum_lengths(to_table(receipts[:1]))  # what is imported at the first use
    tracemalloc.start()
    try:
        table = to_table(receipts)
        assert sum(1 for _ in to_receipts(table)) == 1000 and sum_lengths(table)[0] == (1000, 1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_sums() -> None:
    table = to_table([receipt(0), receipt(1), receipt(2, **REFUSED)])
    totals = sum_receipts(table)
    assert (totals.rows_in, totals.rows_out, totals.rows_quarantined, totals.shards, totals.quarantine_files, totals.tokens) == (30, 18, 12, 2, 3, 180)
    assert sum_lengths(table) == ((8, 8), (12, 10)) and sum_receipts(to_table([])).rows_in == 0 and sum_lengths(to_table([])) == ()


def test_what_is_committed_is_there_the_next_time(tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path))
    log = CommitLog(folder)
    assert log.append([receipt(1), receipt(0, 1)]) == [receipt(1), receipt(0, 1)]
    assert log.append([receipt(0, 0, last=False)]) == [receipt(0, 0, last=False)]
    again = CommitLog(folder)
    assert list(again.receipts()) == [receipt(0, 0, last=False), receipt(0, 1), receipt(1)] and again.committed == {(0, 0), (0, 1), (1, 0)}
    assert sorted(path.name for path in (tmp_path / COMMITS).iterdir()) == ["000000001.parquet", "000000002.parquet"]


@settings(max_examples=15)
@given(st.lists(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=4), max_size=30))
def test_each_receipt_is_found_with_its_commit_however_they_came(batches: list[list[tuple[int, bool]]]) -> None:
    """Against a plain dictionary: receipts in small commits, some of them `repair`'s in place of others, empty commits between them."""
    with tempfile.TemporaryDirectory() as place:
        log, known, files = CommitLog(open_folder(place)), dict[int, Receipt](), dict[int, str]()
        for number, batch in enumerate(batches):
            fresh = {partition: receipt(partition) for partition, _ in batch if partition not in known}
            repaired = {partition for partition, again in batch if again and partition in known}
            again = {key: replace(known[key], shard_sha256=f"{number:064x}", provenance={REPLACES: digest_of(known[key])}) for key in repaired}
            written = log.append([*fresh.values(), *again.values()])
            assert len(written) == len(fresh) + len(again)
            if not written:
                log.fence()
            newest = max(name for name, _ in log.folder.list(COMMITS))
            files |= dict.fromkeys(fresh, newest)
            known |= fresh | again
        for one in (log, CommitLog(open_folder(place))):
            assert list(one.receipts()) == [known[key] for key in sorted(known)]
            assert {key: one.file_of(key, 0) for key in known} == files


@pytest.mark.long
def test_memory_does_not_grow_with_the_number_of_commits(tmp_path: Path) -> None:
    """A run commits every other second for days; a table alone takes ten kilobytes."""
    log = CommitLog(open_folder(str(tmp_path)))
    for number in range(300):
        log.append([receipt(number)])
    assert len(log._tables) < 12
    assert [one.partition for one in log.receipts()] == [*range(300)] and log.file_of(299, 0).endswith("000000300.parquet")


def test_nothing_new_writes_nothing(tmp_path: Path) -> None:
    log = CommitLog(open_folder(str(tmp_path)))
    log.append([receipt()])
    assert log.append([]) == [] and log.append([replace(receipt(), adopted=True, provenance={})]) == []
    assert log.append([receipt(1), receipt(1)]) == [receipt(1)] and len(list((tmp_path / COMMITS).iterdir())) == 2


@pytest.mark.parametrize("change", [{"shard_sha256": "ef" * 32}, {"last": False}, {"tokens": 91}, {"last_id": "c"}])
def test_a_receipt_that_contradicts_a_commit_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    log = CommitLog(open_folder(str(tmp_path)))
    log.append([receipt()])
    with pytest.raises(DataError, match=rf"partition 0 shard 0: {next(iter(change))} .*, expected .*, as .*000000001.parquet says"):
        log.append([receipt(**change)])
    with pytest.raises(DataError, match="contradicts itself"):
        log.append([receipt(1), receipt(1, **change)])
    assert CommitLog(log.folder).committed == {(0, 0)}


@pytest.mark.parametrize("change", [{"rows_in": 11}, {"rows_quarantined": 0}, {"shard": None}, {"quarantine": None}, {"rows_out": 10, "rows_quarantined": 0}])
def test_an_account_that_does_not_add_up_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    log = CommitLog(open_folder(str(tmp_path)))
    with pytest.raises(DataError, match=r"partition 3 shard 0.*does not add up"):
        log.append([receipt(3, **change)])
    assert not (tmp_path / COMMITS).exists()


def test_an_account_that_does_not_add_up_is_found_when_reading(tmp_path: Path) -> None:
    (tmp_path / COMMITS).mkdir(parents=True)
    pq.write_table(to_table([receipt(rows_in=11)]), tmp_path / COMMITS / "000000001.parquet")
    with pytest.raises(DataError, match=r"000000001.parquet: cannot be right: partition 0 shard 0.*does not add up"):
        CommitLog(open_folder(str(tmp_path)))


def test_another_driver_is_noticed(tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path))
    one, other = CommitLog(folder), CommitLog(folder)
    one.append([receipt()])
    with pytest.raises(AnotherRun, match="which has taken over this dataset"):
        other.append([receipt(1)])
    assert CommitLog(folder).committed == {(0, 0)}


def test_a_holder_that_was_taken_over_commits_no_more(tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path))
    old = CommitLog(folder, token=1)
    old.append([receipt(0)])
    new = CommitLog(folder, token=2)
    new.fence()
    with pytest.raises(AnotherRun, match=r"000000002\.parquet was written by another run"):
        old.append([receipt(1)])
    new.append([receipt(2)])
    assert CommitLog(folder).committed == {(0, 0), (2, 0)}


def test_a_holder_that_looks_only_after_it_was_taken_over_commits_nothing(tmp_path: Path) -> None:
    """It was stopped between taking the lease and reading the log. Found by the simulator, seed 318."""
    folder = open_folder(str(tmp_path))
    CommitLog(folder, token=2).fence()
    with pytest.raises(AnotherRun, match="which has taken over this dataset"):
        CommitLog(folder, token=1)
    assert last_token(folder) == 2 and CommitLog(folder).committed == frozenset()


def test_a_commit_of_an_earlier_holder_that_comes_late_counts(tmp_path: Path) -> None:
    """A put that was delayed on its way, or a listing that lags behind."""
    folder = open_folder(str(tmp_path))
    old, new = CommitLog(folder, token=1), CommitLog(folder, token=2)
    old.append([receipt(0)])
    new.fence()
    assert new.committed == {(0, 0)}, "the number was taken: it is read, and the next one is the fence"
    late = CommitLog(folder, token=3)
    new.append([receipt(1)])
    assert late.append([receipt(1), receipt(2)]) == [receipt(2)], "what the late one says is not committed twice"
    assert CommitLog(folder).committed == {(0, 0), (1, 0), (2, 0)}


def test_a_commit_whose_answer_was_lost_is_ours(tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path))

    class Forgetful:
        def __getattr__(self, name: str) -> Any:
            return getattr(folder, name)

        def create(self, name: str, data: bytes) -> None:
            folder.create(name, data)
            raise AlreadyExists(name)

    log = CommitLog(Forgetful())
    assert log.append([receipt()]) == [receipt()] and log.append([receipt(1)]) == [receipt(1)]
    assert CommitLog(folder).committed == {(0, 0), (1, 0)}


@pytest.mark.parametrize("kept", [0, 4, 0.5, 0.99])
def test_a_damaged_commit_is_named_with_what_to_do(tmp_path: Path, kept: float) -> None:
    folder = open_folder(str(tmp_path))
    CommitLog(folder).append([receipt()])
    CommitLog(folder).append([receipt(1)])
    path = tmp_path / COMMITS / "000000001.parquet"
    data = path.read_bytes()
    path.write_bytes(data[: int(kept if kept > 1 else kept * len(data))])
    with pytest.raises(DataError, match=r"000000001.parquet: is damaged.*Move it away and run the same job again"):
        CommitLog(folder)
    path.unlink()
    log = CommitLog(folder)
    assert log.committed == {(1, 0)}
    log.append([receipt()])
    assert CommitLog(folder).committed == {(0, 0), (1, 0)}


def test_a_flipped_bit_anywhere_in_a_commit_is_found_or_harmless(tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path))
    CommitLog(folder).append([receipt()])
    path = tmp_path / COMMITS / "000000001.parquet"
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            assert list(CommitLog(folder).receipts()) == [receipt()]
        except DataError as error:
            assert "000000001" in str(error)


def test_other_files_among_the_commits_are_no_commits(tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path))
    CommitLog(folder).append([receipt()])
    (tmp_path / COMMITS / "notes.txt").write_text("mine")
    assert CommitLog(folder).committed == {(0, 0)}


def test_a_file_of_another_shape_is_no_commit(tmp_path: Path) -> None:
    (tmp_path / COMMITS).mkdir(parents=True)
    pq.write_table(pa.table({"a": [1]}), tmp_path / COMMITS / "000000001.parquet")
    with pytest.raises(DataError, match="schema"):
        CommitLog(open_folder(str(tmp_path)))


@given(st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=6), max_size=12))
def test_however_it_is_held_the_log_gives_each_receipt_once_and_in_order(batches: list[list[tuple[int, int]]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commits, "MERGED_ROWS", 4)
        log = CommitLog(MemoryFolder())
        for batch in batches:
            log.append([receipt(*key) for key in dict.fromkeys(batch)])
    keys = sorted({key for batch in batches for key in batch})
    expected = [receipt(*key) for key in keys]
    assert list(log.receipts()) == list(to_receipts(log.table())) == expected and sorted(log.committed) == keys
    assert [each for piece in log.pieces(rows=3) for each in to_receipts(piece)] == expected
    assert [(shard.partition, shard.ordinal, shard.last) for shard in log.shards()] == [(each.partition, each.ordinal, each.last) for each in expected]
    assert log.columns(["shard", "partition"]).to_pylist() == [{"shard": each.shard, "partition": each.partition} for each in expected]
    if len(keys) > 30:
        assert any(isinstance(held, pa.Buffer) for held in log._tables)
