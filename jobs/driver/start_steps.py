"""From the start of a process to its first commit: what took how long, told once it is there."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from embermill.jobs.pool.base import Died
from embermill.jobs.process.began import process_began_s
from embermill.jobs.receipt import Event, Progress, Ready

log = logging.getLogger(__name__)
WORKER_READY, LAST = "first worker ready", "first commit"


def start_steps() -> StartSteps:
    """From the start of this process, once what a command needs is imported."""
    steps = StartSteps(process_began_s())
    steps.done("embermill imported")
    return steps


class StartSteps:
    """Each step once; what comes again, or after the first commit, is nothing new. begin_s: by the clock.

    A step begins where the one before it was done, unless it says that it was begun beside others.
    """

    def __init__(self, begin_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._begin_s, self._clock = begin_s, clock
        self._last_s = 0.0  # when the last one was told of, in seconds since the beginning
        self._steps: dict[str, tuple[float, float]] = {}  # name -> when it was begun and when it was done, in such seconds

    def done(self, step: str, beside: tuple[float, float] | None = None) -> None:
        """beside: when it was begun and when it was done, by the clock, of what ran beside other steps."""
        if step in self._steps or LAST in self._steps:
            return
        now_s = self._clock() - self._begin_s
        if beside is None:
            self._steps[step] = self._last_s, now_s
        else:
            begun_s, done_s = (at - self._begin_s for at in beside)
            self._steps[step if begun_s >= self._last_s else f"{step} (beside other steps, since {begun_s:.2f} s)"] = begun_s, done_s
        self._last_s = now_s
        if step == LAST:
            log.debug("%s", self.table())

    def heard(self, event: Event | Died) -> None:
        """What a worker says, as far as it tells of a step."""
        match event:
            case Ready():
                if not any(step.startswith(WORKER_READY) for step in self._steps):
                    self.done(f"{WORKER_READY} (loading the model: {event.seconds_to_load:.2f} s)")
            case Progress():
                self.done("first row read")
                if event.tokens:
                    self.done("first vectors")

    def seconds(self) -> list[tuple[str, float, float]]:
        """(step, seconds that it took, seconds since the beginning) of each, in the order in which they were done."""
        return [(step, done - begun, done) for step, (begun, done) in sorted(self._steps.items(), key=lambda pair: pair[1][1])]

    def table(self) -> str:
        lines = [f"  {took:7.2f} s  {at:7.2f} s  {step}" for step, took, at in self.seconds()]
        return "\n".join(["the start, step by step (seconds that it took, seconds since the beginning):", *lines])
