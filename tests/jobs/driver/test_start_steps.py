"""The table of a run's start: each step once, in its order, and nothing after the first commit."""

from __future__ import annotations

import logging

import pytest

from embermill.jobs.driver.start_steps import LAST, StartSteps
from embermill.jobs.receipt import Event, Progress
from tests.jobs.fakes import ready


def test_each_step_once_in_its_order(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    steps = StartSteps(100.0, lambda: now[0])
    with caplog.at_level(logging.DEBUG, "embermill.jobs"):
        told: list[tuple[float, str | Event]] = [
            (1.0, "looked"), (2.5, ready(seconds_to_load=1.25)), (0.5, ready(seconds_to_load=9.0)), (0.5, Progress(0, "read", 0, 0, 0.0)),
            (1.0, Progress(0, "encode", 3, 40, 0.0)), (1.0, Progress(1, "encode", 3, 40, 0.0)), (0.5, LAST), (9.0, LAST), (9.0, "late"),
        ]  # fmt: skip
        for seconds, event in told:
            now[0] += seconds
            steps.done(event) if isinstance(event, str) else steps.heard(event)
    assert steps.seconds() == [
        ("looked", 1.0, 1.0), ("first worker ready (loading the model: 1.25 s)", 2.5, 3.5), ("first row read", 1.0, 4.5), ("first vectors", 1.0, 5.5),
        (LAST, 1.5, 7.0),
    ]  # fmt: skip
    assert sum("the start, step by step" in record.getMessage() for record in caplog.records) == 1 and "7.00 s  first commit" in caplog.text
