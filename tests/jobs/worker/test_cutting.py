"""Batches of any shape become shards of fixed numbers of input rows, and nothing is lost, doubled or out of order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from embermill.jobs.corpus.rows import RowBatch
from embermill.jobs.worker.cutting import BatchLimits, ShardEnd, ShardRows, cut, split
from tests.jobs.fakes import batch

texts_or_refused = st.lists(st.lists(st.one_of(st.none(), st.text("ab", max_size=12)), max_size=12), max_size=8)


def build(groups: list[list[str | None]], refused_count: int) -> list[RowBatch]:
    batches, at = list[RowBatch](), 0
    for group in groups:
        batches.append(batch(at, group, refused_count))
        at += batches[-1].num_rows
    return batches


def rows_of(part: RowBatch) -> list[int]:
    """Every input row the batch stands for, kept or refused."""
    assert part.num_rows == len(part.rows) + sum(each.row_count for each in part.refused)
    refused = [each.row + step for each in part.refused for step in range(each.row_count)]
    assert all(each.first_row == each.row for each in part.refused)
    assert len(part.ids) == len(part.texts) == len(part.rows) == len(part.kept[0])
    assert [part.locate(row) for row in part.rows.tolist()] == [("file", None, 10 * row) for row in part.rows.tolist()]
    return sorted([*part.rows.tolist(), *refused])


@given(texts_or_refused, st.integers(1, 9), st.integers(1, 7), st.integers(1, 30), st.integers(1, 5))
def test_every_row_once_in_order(groups: list[list[str | None]], rows_per_shard: int, rows: int, text_bytes: int, refused_count: int) -> None:
    batches = build(groups, refused_count)
    total = sum(each.num_rows for each in batches)
    parts = list(cut(batches, rows_per_shard, (), BatchLimits(rows, text_bytes)))
    seen = [row for part in parts if isinstance(part, ShardRows) for row in rows_of(part.batch)]
    assert seen == list(range(total))
    ends = [part for part in parts if isinstance(part, ShardEnd)]
    assert [end.last for end in ends] == [False] * (len(ends) - 1) + [True]
    assert [end.ordinal for end in ends] == list(range(max(1, -(-total // rows_per_shard))))
    assert [end.rows for end in ends[:-1]] == [rows_per_shard] * (len(ends) - 1) and sum(end.rows for end in ends) == total
    for part in parts:
        if isinstance(part, ShardRows):
            assert all(row // rows_per_shard == part.ordinal for row in rows_of(part.batch))
            texts = part.batch.texts.to_pylist()
            assert len(texts) <= rows and (sum(map(len, texts)) <= text_bytes or len(texts) == 1)


@given(texts_or_refused, st.integers(1, 9), st.sets(st.integers(0, 9)))
def test_skipped_shards_are_left_out_and_change_no_other(groups: list[list[str | None]], rows_per_shard: int, skip: set[int]) -> None:
    limits = BatchLimits(4, 16)
    whole = list(cut(build(groups, 2), rows_per_shard, (), limits))
    rest = list(cut(build(groups, 2), rows_per_shard, skip, limits))
    assert [shape(part) for part in rest] == [shape(part) for part in whole if part.ordinal not in skip]


def shape(part: ShardRows | ShardEnd) -> object:
    return part if isinstance(part, ShardEnd) else (part.ordinal, part.batch.first_row, part.batch.texts.to_pylist())


@given(st.lists(st.one_of(st.none(), st.text("ab", max_size=3)), max_size=12), st.integers(0, 40), st.integers(1, 5))
def test_split_and_what_it_makes_belong_together(texts: list[str | None], at: int, refused_count: int) -> None:
    whole = batch(7, texts, refused_count)
    before, after = split(whole, at)
    assert before.num_rows == min(at, whole.num_rows)
    assert rows_of(before) + rows_of(after) == rows_of(whole)
    assert before.texts.to_pylist() + after.texts.to_pylist() == whole.texts.to_pylist()


def test_small_batches_are_put_together_and_large_ones_cut() -> None:
    batches = build([["aa"]] * 10 + [["bb"] * 10], 1)  # type: ignore[arg-type]
    sizes = [len(part.batch.texts) for part in cut(batches, 100, (), BatchLimits(8, 1000)) if isinstance(part, ShardRows)]
    assert sizes == [8, 8, 4]


def test_batches_are_small_until_the_engine_has_answered() -> None:
    answered: list[int] = []
    limits = BatchLimits(100, 8, first_text_bytes=2)
    parts = cut(build([["a"] * 40], 1), 100, (), limits, lambda: bool(answered))
    sizes = []
    for part in parts:
        if isinstance(part, ShardRows):
            sizes.append(len(part.batch.texts))
            answered += [1] * (len(sizes) == 3)
    assert sizes[:3] == [2, 2, 2] and sizes[3:] == [8] * 4 + [2]
