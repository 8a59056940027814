"""Places of committed shards are those of a dictionary."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embermill.jobs.dataset.metadata import places
from embermill.jobs.dataset.metadata.places import Places

KEYS = st.tuples(st.one_of(st.integers(0, 12), st.sampled_from([-1, 40, 1 << 40])), st.integers(0, 2))


@given(st.dictionaries(KEYS, st.integers(0, 100), max_size=20), st.lists(KEYS, max_size=10))
def test_they_are_those_of_a_dictionary(expected: dict[tuple[int, int], int], asked: list[tuple[int, int]]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(places, "MOST_NUMBERED", 10)
        found = Places()
        for key, place in expected.items():
            found.add(key, place)
    assert dict(found) == expected and len(found) == len(expected) and found.keys() == expected.keys()
    assert [key in found for key in asked] == [key in expected for key in asked] and [found.get(key) for key in asked] == [expected.get(key) for key in asked]
