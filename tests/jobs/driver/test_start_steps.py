"""The table of a run's start: each step once, in the order in which they were done, and nothing after the first commit."""

from __future__ import annotations

import logging

import pytest

from embermill.jobs.driver.start_steps import LAST, StartSteps, start_steps
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


def test_what_ran_beside_other_steps_says_since_when_and_takes_nothing_from_them() -> None:
    now = [0.0]
    steps = StartSteps(0.0, lambda: now[0])
    for at, step, beside in ((1.5, "looked", None), (2.5, "Ray started", (0.5, 2.25)), (4.0, "worker ready", None)):
        now[0] = at
        steps.done(step, beside)
    assert steps.seconds() == [("looked", 1.5, 1.5), ("Ray started (beside other steps, since 0.50 s)", 1.75, 2.25), ("worker ready", 1.5, 4.0)]
    late = StartSteps(0.0, lambda: now[0])
    now[0] = 1.5
    late.done("looked")
    now[0] = 2.5
    late.done("Ray started", (0.5, 1.25))
    late.done("cluster looked at", (2.5, 2.5))
    assert [step for step, *_ in late.seconds()] == ["Ray started (beside other steps, since 0.50 s)", "looked", "cluster looked at"]


def test_it_begins_with_the_process() -> None:
    steps = start_steps()
    ((step, took, at),) = steps.seconds()
    assert step == "embermill imported" and 0.01 < took == at < 3600
