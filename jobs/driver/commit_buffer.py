"""Receipts on their way into the commit log: in batches every few seconds, and then told to whoever follows the job."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from embermill.jobs.driver.events import EventsFile
from embermill.jobs.receipt import Receipt

FLUSH_EVERY_S = 2.0
FLUSH_RECEIPTS = 1000


class Log(Protocol):
    """What receipts are appended to: a CommitLog, or what stands for one in a stage that commits nothing."""

    def append(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        """Those that are new."""
        ...


class CommitBuffer:
    """The driver's hand on the commit log. events: is told of each shard, once it is committed. told: the same, as a call."""

    def __init__(self, log: Log, *, events: EventsFile | None = None, told: Callable[[Receipt], None] = lambda receipt: None) -> None:
        self.log, self._told = log, told
        self._waiting: list[Receipt] = []
        self._flushed_s: float | None = None
        self.last_commit_s: float | None = None
        self._events = events

    def commit(self, receipt: Receipt) -> None:
        self._waiting.append(receipt)

    @property
    def waiting(self) -> int:
        """Receipts that are not in the log yet."""
        return len(self._waiting)

    @property
    def due_s(self) -> float:
        """When what waits is to be committed: once every few seconds, the very first at once, so that a kill costs little; inf where nothing waits."""
        if not self._waiting:
            return math.inf
        return -math.inf if self._flushed_s is None or len(self._waiting) >= FLUSH_RECEIPTS else self._flushed_s + FLUSH_EVERY_S

    def flush_if_due(self, now_s: float) -> None:
        if now_s >= self.due_s:
            self.flush(now_s)

    def flush(self, now_s: float) -> None:
        if not self._waiting:
            return
        new = self.log.append(self._waiting)
        self._waiting = []
        self._flushed_s = self.last_commit_s = now_s
        for receipt in new:
            self._told(receipt)
        if self._events is not None:
            self._events.append(new)
