"""Busy time."""

from __future__ import annotations

import time

from embermill.encoder.pipeline.busy_clock import BusyClock


def test_busy_time_counts_overlap_once() -> None:
    clock = BusyClock()
    assert clock.seconds == 0
    with clock, clock:
        time.sleep(0.02)
        running = clock.seconds
    assert 0.02 <= running <= clock.seconds
    stopped = clock.seconds
    time.sleep(0.01)
    assert clock.seconds == stopped
