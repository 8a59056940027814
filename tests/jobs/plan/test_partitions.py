"""A plan's partitions as they are stored: each is made when it is asked for, and is what was written."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embermill.jobs.partition import Partition, Segment
from embermill.jobs.plan import partitions as stored
from embermill.jobs.plan.partitions import ChosenPartitions, Places, StoredPartitions, ids_of, numbers_of, segment_table, text_bytes_of

SEGMENTS = st.builds(
    Segment,
    st.sampled_from(["/a.jsonl", "/b.parquet"]), st.sampled_from(["a", "b"]), st.just("jsonl"), st.sampled_from([None, "gzip"]),
    st.integers(0, 9), st.sampled_from(["1", "2"]), st.sampled_from(["bytes", "rows"]), st.integers(0, 5), st.integers(5, 9),
)  # fmt: skip
PLANS = st.lists(st.tuples(st.lists(SEGMENTS, min_size=1, max_size=4), st.integers(0, 1 << 40)), max_size=20).map(
    lambda made: tuple(Partition(number, f"{number:08x}", tuple(segments), size) for number, (segments, size) in enumerate(made))
)


@given(PLANS, st.integers(1, 5))
def test_what_is_stored_is_what_was_planned(plan: tuple[Partition, ...], at_a_time: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored, "MOST_AT_A_TIME", at_a_time)
        read = StoredPartitions(segment_table(plan))
        assert read == plan and list(read) == list(plan) and [read[place] for place in range(len(plan))] == list(plan)
        assert read[1:7:2] == plan[1:7:2] and read[-1:] == plan[-1:]
        assert ids_of(read) == ids_of(plan) and np.array_equal(text_bytes_of(read), text_bytes_of(plan)) and numbers_of(read) == numbers_of(plan)
        with pytest.raises(IndexError):
            read[len(plan)]


@given(PLANS, st.sets(st.integers(0, 19)))
def test_some_of_them(plan: tuple[Partition, ...], chosen: set[int]) -> None:
    numbers = sorted(number for number in chosen if number < len(plan))
    some = ChosenPartitions(StoredPartitions(segment_table(plan)), numbers)
    expected = tuple(plan[number] for number in numbers)
    assert list(some) == list(expected) and some[:2] == expected[:2] and list(numbers_of(some)) == numbers
    places = Places(numbers_of(some))
    assert [places.find(number) for number in range(21)] == [numbers.index(number) if number in numbers else None for number in range(21)]


@pytest.mark.long
def test_they_take_little_memory() -> None:
    segment = Segment("/corpus/file.jsonl", "file.jsonl", "jsonl", None, 1 << 30, "1700000000000000000", "bytes", 0, 1)
    table = segment_table([Partition(number, f"{number:08x}", (segment,), 1) for number in range(50_000)])
    tracemalloc.start()
    read = StoredPartitions(table)
    assert sum(partition.text_bytes for partition in read) == len(read) and read[49_999].number == 49_999
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 40 * len(read), "bytes, of Python's and NumPy's memory"
