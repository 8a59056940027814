"""What is known of workers: who is at work on what, since when, and who only fails. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from embermill.jobs.receipt import Ready

FAILED_RUN = 3  # partitions that a worker fails on, one after another, before it must wait for what others make of them


@dataclass
class Seat:
    """One worker that is ready. queue: partition -> attempt, in the order in which it works on them."""

    ready: Ready
    moved_s: float  # when its work last moved on, or when it was given some while it had none
    began_s: float = 0.0  # when it began with the first partition of its queue
    queue: dict[int, int] = field(default_factory=dict)
    failed: set[int] = field(default_factory=set)  # partitions it failed on since its last shard, of which nothing else is known yet
    contradicted: set[int] = field(default_factory=set)  # partitions it failed on since its last shard, and another worker finished

    def succeeded(self) -> None:
        self.failed.clear()
        self.contradicted.clear()

    @property
    def doubtful(self) -> bool:
        """It has only failed lately: it gets nothing new before others have tried what it failed on."""
        return len(self.failed) + len(self.contradicted) >= FAILED_RUN

    @property
    def broken(self) -> bool:
        """Others finished what it failed on, one after another."""
        return len(self.contradicted) >= FAILED_RUN

    def describe(self) -> str:
        device = f"{self.ready.device_name} {self.ready.device_uuid}".strip()
        return f"the worker on {self.ready.host} ({device}, process {self.ready.pid})"


class Pace:
    """How long a partition takes, of late."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=32)

    def add(self, seconds: float) -> None:
        self._seconds.append(seconds)

    def slow(self, seconds: float) -> bool:
        """Twice as long as the median is; False while nothing is known."""
        return bool(self._seconds) and seconds > max(1.0, 2 * sorted(self._seconds)[len(self._seconds) // 2])
