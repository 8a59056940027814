from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import embermill.jobs.dataset.views.duplicates
from embermill.jobs.dataset.views.duplicates import DuplicateFinder

ids = st.one_of(
    st.lists(st.lists(st.text("ab", max_size=3), max_size=20), max_size=5).map(lambda shards: (pa.string(), shards)),
    st.lists(st.lists(st.integers(-5, 5) | st.sampled_from([2**63 - 1, -(2**63)]), max_size=20), max_size=5).map(lambda shards: (pa.int64(), shards)),
    st.lists(st.lists(st.sampled_from([0, 1, 2**64 - 1, 2**63]), max_size=9), max_size=5).map(lambda shards: (pa.uint64(), shards)),
)


@settings(deadline=None)
@given(ids, st.sampled_from([1, 7, 1000]))
def test_groups_are_those_of_a_dictionary(found: tuple[pa.DataType, list[list[object]]], rows_in_memory: int) -> None:
    kind, shards = found
    expected = defaultdict(list)
    with pytest.MonkeyPatch.context() as patch, DuplicateFinder() as finder:
        patch.setattr(embermill.jobs.dataset.views.duplicates, "ROWS_IN_MEMORY", rows_in_memory)
        for number, values in enumerate(shards):
            half = len(values) // 2
            finder.add(pa.chunked_array([values[:half], values[half:]], kind), number, 10)
            for row, value in enumerate(values, 10):
                expected[value].append((number, row))
        assert sorted(finder.groups()) == sorted(places for places in expected.values() if len(places) > 1)


def test_what_was_written_out_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embermill.jobs.dataset.views.duplicates, "ROWS_IN_MEMORY", 2)
    with DuplicateFinder() as finder:
        finder.add(pa.chunked_array([["a", "b", "a"]]), 0, 0)
        assert finder._spill is not None and any(True for _ in Path(finder._spill.name).iterdir())
        assert list(finder.groups()) == [[(0, 0), (0, 2)]]
    assert not Path(finder._spill.name).exists()


def test_of_rows_that_were_written_out_those_of_every_bucket_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embermill.jobs.dataset.views.duplicates, "ROWS_IN_MEMORY", 1000)
    rows = 20 * embermill.jobs.dataset.views.duplicates.BUCKETS
    for kind in (pa.string(), pa.int64()):
        with DuplicateFinder() as finder:
            for shard in range(2):
                finder.add(pa.chunked_array([pa.array(range(rows)).cast(kind)]), shard, 0)
            assert sorted(finder.groups()) == [[(0, row), (1, row)] for row in range(rows)]
