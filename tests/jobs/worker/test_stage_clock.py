"""Progress at a pace that a driver can bear; what it waits for, the first row and the first vectors, at once."""

from __future__ import annotations

import numpy as np

from embermill.jobs.engine import Embedded
from embermill.jobs.receipt import Event, Progress
from embermill.jobs.worker.stage_clock import StageClock
from tests.jobs.engines import PlainEngine


def test_the_first_answer_is_told_at_once_and_later_ones_at_their_pace() -> None:
    told: list[Event] = []
    clock = StageClock(PlainEngine(), told.append)
    tokens = np.array([3, 4], np.int32)
    clock.began(0)
    for _ in range(3):
        clock.embedded(0, Embedded({}, tokens, 0 * tokens), 20)
    clock.published(0)
    counts = [(event.stage, event.rows, event.tokens, event.text_bytes) for event in told if isinstance(event, Progress)]
    assert counts == [("read", 0, 0, 0), ("encode", 2, 7, 20), ("write", 4, 14, 40)]
