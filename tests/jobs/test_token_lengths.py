from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embermill.jobs.token_lengths import UPPER_BOUNDS, count_lengths, merge_lengths, percentile

lengths = st.lists(st.integers(0, 1 << 20), max_size=200)


@given(lengths)
def test_every_document_is_in_the_bucket_that_ends_at_most_a_sixteenth_above_it(tokens: list[int]) -> None:
    histogram = count_lengths(np.array(tokens, np.int64))
    assert sum(documents for _, documents in histogram) == len(tokens)
    for length in tokens:
        bound = next(bound for bound, _ in histogram if bound >= length)
        assert bound <= max(length, length * 17 / 16 + 1e-9) or length <= 32


@given(lengths, lengths)
def test_merging_is_counting_together(some: list[int], more: list[int]) -> None:
    apart = merge_lengths([count_lengths(np.array(some, np.int64)), count_lengths(np.array(more, np.int64))])
    assert apart == count_lengths(np.array(some + more, np.int64))


@pytest.mark.parametrize("limit", [1, 32, 128, 256, 512, 8192])
def test_usual_limits_are_exact(limit: int) -> None:
    assert limit in UPPER_BOUNDS


def test_percentiles() -> None:
    histogram = count_lengths(np.arange(1, 101))
    assert (percentile(histogram, 0.25), percentile(histogram, 1.0), percentile((), 0.5)) == (25, 100, 0)
    assert 50 <= percentile(histogram, 0.5) <= 52
