"""Histogram of document lengths in tokens: small enough for every receipt, fine enough for percentiles.

Buckets are exact up to 32 tokens and then 16 to each doubling, so that a percentile is at most 6.25 % above the true one
and every usual limit (128, 256, 512, 8192) is a bound of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

Histogram = tuple[tuple[int, int], ...]
"""(a bucket's upper bound in tokens, inclusive; documents in it), ascending, empty buckets left out."""


def _upper_bounds() -> np.ndarray:
    exact = list(range(33))
    steps = [(16 + step) << doubling for doubling in range(1, 27) for step in range(1, 17)]
    return np.array(exact + steps, np.int64)


UPPER_BOUNDS = _upper_bounds()


def count_lengths(num_tokens: np.ndarray) -> Histogram:
    """num_tokens: [B] integers >= 0. Returns how many documents fall into each bucket."""
    buckets, documents = np.unique(np.searchsorted(UPPER_BOUNDS, num_tokens), return_counts=True)
    return tuple(zip(UPPER_BOUNDS[buckets].tolist(), documents.tolist(), strict=True))


def merge_lengths(histograms: Iterable[Histogram]) -> Histogram:
    """One histogram of all documents."""
    total: Counter[int] = Counter()
    for histogram in histograms:
        for upper_bound, documents in histogram:
            total[upper_bound] += documents
    return tuple(sorted(total.items()))


def percentile(histogram: Histogram, share: float) -> int:
    """The bucket bound that at least `share` (0..1) of the documents do not exceed; 0 where there are none."""
    wanted = share * sum(documents for _, documents in histogram)
    seen = 0
    for upper_bound, documents in histogram:
        seen += documents
        if seen >= wanted:
            return upper_bound
    return 0
