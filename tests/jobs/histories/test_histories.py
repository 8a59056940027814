from __future__ import annotations

import pytest

from tests.jobs.histories.checks import check
from tests.jobs.histories.decoding_once import decoding_once
from tests.jobs.histories.world import open_world

SEEDS = range(18)  # 100,000 were run by hand: infra/decisions
FOUND = (16405, 16233)  # a row that came and went after V, before a rollback to V: whoever stood in between was not told of the delete


@pytest.mark.parametrize("first", SEEDS[::6])
def test_every_cursor_and_feed_give_the_rows_of_every_later_version(first: int) -> None:
    with decoding_once():
        for seed in range(first, first + 6):
            check(open_world(seed, 7))


def test_seeds_that_once_failed() -> None:
    with decoding_once():
        for seed in FOUND:
            check(open_world(seed, 6))
