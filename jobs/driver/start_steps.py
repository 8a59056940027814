"""From the start of a run to its first commit: what took how long, told once it is there."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from embermill.jobs.pool.base import Died
from embermill.jobs.receipt import Event, Progress, Ready

log = logging.getLogger(__name__)
WORKER_READY, LAST = "first worker ready", "first commit"


class StartSteps:
    """Each step once, in the order in which they came; what comes again, or after the first commit, is nothing new. begin_s: by the clock."""

    def __init__(self, begin_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._begin_s, self._clock = begin_s, clock
        self._steps: dict[str, float] = {}  # name -> seconds since the beginning

    def done(self, step: str) -> None:
        if step in self._steps or LAST in self._steps:
            return
        self._steps[step] = self._clock() - self._begin_s
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
        """(step, seconds that it took, seconds since the beginning) of each, in their order."""
        found, before = [], 0.0
        for step, at in sorted(self._steps.items(), key=lambda pair: pair[1]):
            found.append((step, at - before, at))
            before = at
        return found

    def table(self) -> str:
        lines = [f"  {took:7.2f} s  {at:7.2f} s  {step}" for step, took, at in self.seconds()]
        return "\n".join(["the start, step by step (seconds that it took, seconds since the beginning):", *lines])
