"""Documents that other splitters take minutes for are cut in linear time: CPU seconds, so that a busy machine is no excuse."""

from __future__ import annotations

import os

import pytest

from tests.bench.cutting import HARD, hard_seconds

MOST_PER_DOUBLING, MOST_SECONDS_PER_MB = 2.3, 10.0


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", HARD)
def test_twice_the_text_takes_twice_the_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "TOKENIZERS_PARALLELISM", "false")  # seconds of all threads would count
    one, two, four = hard_seconds(name, 3)
    assert one <= MOST_SECONDS_PER_MB and two <= MOST_PER_DOUBLING * one and four <= MOST_PER_DOUBLING * two, (one, two, four)
