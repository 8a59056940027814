from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embermill.jobs.dataset.metadata.completeness import _accounts_for_all, _find_gaps, gaps, unfinished
from embermill.jobs.dataset.metadata.receipt_table import to_table
from embermill.jobs.plan.partitions import StoredPartitions, numbers_of, segment_table
from tests.jobs.dataset.metadata.test_commits import receipt
from tests.jobs.sample_dataset import make_partition, make_plan


def shard(partition: int, ordinal: int, rows_in: int, last: bool) -> Any:
    return receipt(partition, ordinal, last=last, rows_in=rows_in, rows_out=rows_in - 1)


WHOLE = [shard(0, 0, 100, False), shard(0, 1, 100, False), shard(0, 2, 50, True)]


def found(receipts: list[Any], partitions: int = 1) -> list[str]:
    return list(gaps(make_plan(partitions), to_table(receipts)))


def test_a_whole_plan_has_no_gaps() -> None:
    assert found(WHOLE) == []


@pytest.mark.parametrize(
    ("receipts", "message"),
    [
        (WHOLE[:2], "partition 0: shards [0, 1] with the last one []"),
        (WHOLE[1:], "partition 0: shards [1, 2] with the last one [2]"),
        ([], "partition 0: shards [] with the last one []"),
        ([*WHOLE[:2], shard(0, 2, 49, True)], "partition 0: its files hold 250 rows, 249 are accounted for"),
        ([shard(0, 0, 99, False), *WHOLE[1:]], "partition 0 shard 0: 99 rows in"),
        ([*WHOLE, shard(1, 0, 10, True)], "partition 1 is not in the plan, which has 1"),
        ([replace(WHOLE[0], last=True), *WHOLE[1:]], "partition 0: shards [0, 1, 2] with the last one [0, 2]"),
    ],
)
def test_gaps_are_named(receipts: list[Any], message: str) -> None:
    assert any(message in gap for gap in found(receipts)), found(receipts)


def test_rows_that_the_plan_cannot_know_are_not_counted() -> None:
    plan = make_plan(1)
    partition = make_partition(0)
    lines = replace(partition, segments=(replace(partition.segments[0], kind="bytes"),))
    assert list(gaps(replace(plan, partitions=(lines,)), to_table([shard(0, 0, 7, True)]))) == []


@given(st.dictionaries(st.tuples(st.integers(0, 4), st.integers(0, 3)), st.booleans(), max_size=12), st.sampled_from([(), ((1, 2),), ((0, 1), (2, 4))]))
def test_unfinished_is_what_lacks_a_shard(committed: dict[tuple[int, int], bool], superseded: tuple[tuple[int, int], ...]) -> None:
    """Partition 4 is of no plan."""
    last = {number: ordinal for (number, ordinal), is_last in committed.items() if is_last}
    receipts = [shard(number, ordinal, 10, last.get(number) == ordinal) for number, ordinal in committed]
    left = unfinished(replace(make_plan(4), superseded=superseded), to_table(receipts)).tolist()
    current = [number for number in range(4) if not any(first <= number < end for first, end in superseded)]
    whole = [number for number in last if {ordinal for of, ordinal in committed if of == number} >= set(range(last[number] + 1))]
    assert left == [number for number in current if number not in whole]


KINDS = st.sampled_from(["rows", "rows", "unreadable", "bytes"])


@given(st.data())
def test_that_nothing_is_missing_is_seen_at_once(data: st.DataObject) -> None:
    """Of all rows together, as shard by shard; also where the plan is read from its table."""
    made = [replace(make_partition(number), segments=(replace(make_partition(number).segments[0], kind=data.draw(KINDS)),)) for number in range(3)]
    partitions = data.draw(st.sampled_from([tuple(made), StoredPartitions(segment_table(made))]))
    plan = replace(make_plan(3), partitions=partitions, superseded=data.draw(st.sampled_from([(), ((1, 2),)])))
    whole = [replace(each, partition=number) for number in numbers_of(plan.current) for each in WHOLE]
    changed = [*whole]
    for change in data.draw(st.lists(st.sampled_from(["drop", "twice", "last", "rows", "ordinal", "stranger"]), max_size=2)):
        place = data.draw(st.integers(0, len(changed) - 1))
        each = changed[place]
        if change == "drop":
            del changed[place]
        elif change == "twice":
            changed.insert(place, each)
        else:
            rows_in = data.draw(st.sampled_from([49, 50, 51, 100, 101]))
            new: dict[str, dict[str, Any]] = {"last": {"last": not each.last}, "rows": {"rows_in": rows_in}, "ordinal": {"ordinal": 3}}
            changed[place] = replace(each, **new.get(change, {"partition": data.draw(st.integers(-1, 4))}))
    table = to_table(changed)
    assert _accounts_for_all(plan, table) == (not list(_find_gaps(plan, table)))


def test_no_partitions_and_no_receipts_have_no_gaps() -> None:
    plan = replace(make_plan(1), partitions=StoredPartitions(segment_table([])))
    assert list(gaps(plan, to_table([]))) == [] and list(gaps(plan, to_table(WHOLE))) == ["partition 0 is not in the plan, which has 0"]
