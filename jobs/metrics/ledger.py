"""The values of all measures, taken down from what the driver is told, and published every few seconds. Time comes in; sinks may fail without harm."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Protocol

from embermill.jobs.metrics.measures import (
    BOUND,
    DOCUMENTS,
    PARTITIONS,
    PROGRESS_TIME,
    QUEUE_DEPTH,
    RETRIES,
    ROWS_QUARANTINED,
    RUNNING,
    STAGE_SECONDS,
    TOKENS,
    TOKENS_DROPPED,
    VERSION,
    VERSION_TIME,
    WORKERS,
    Sample,
)  # fmt: skip
from embermill.jobs.pool.base import Died
from embermill.jobs.receipt import STAGES, Event, Failed, Progress, Receipt

log = logging.getLogger(__name__)
PUBLISH_EVERY_S = 5.0


class Sink(Protocol):
    """Where values go."""

    def write(self, dataset: str, samples: list[Sample]) -> None: ...


class Ledger:
    """Of one run. dataset: its root, the label of every sample."""

    def __init__(self, dataset: str, *sinks: Sink, clock: Callable[[], float] = time.time) -> None:
        self.dataset, self._sinks, self._clock = dataset, sinks, clock
        self._totals: Counter[str] = Counter()
        self._seconds: Counter[str] = Counter()
        self._retries: Counter[str] = Counter()
        self._partitions = {"waiting": 0, "assigned": 0, "done": 0}
        self._queues = {"workers": 0, "commit": 0}
        self._workers, self._bound, self._running = 0, "", True
        self._progress_time: float | None = None
        self._version: tuple[int, float] | None = None
        self._published_s: float | None = None

    def before(self, *, documents: int, tokens: int, tokens_dropped: int, rows_quarantined: int) -> None:
        """What was committed before this run, or before this look at it."""
        self._totals = Counter(documents=documents, tokens=tokens, tokens_dropped=tokens_dropped, rows_quarantined=rows_quarantined)

    def committed(self, receipt: Receipt) -> None:
        self._totals.update(
            documents=receipt.documents, tokens=receipt.tokens, tokens_dropped=receipt.tokens_dropped, rows_quarantined=receipt.rows_quarantined
        )
        self.moved()

    def moved(self) -> None:
        """Something was embedded, or committed."""
        self._progress_time = self._clock()

    def heard(self, event: Event | Died) -> None:
        """What a worker said: progress, or that an attempt at a partition, or the worker itself, has failed."""
        match event:
            case Progress():
                self._seconds.update(event.seconds)
                self.moved()
            case Failed() | Died():
                self._retries[event.kind] += 1

    def look(self, *, done: int, assigned: int, waiting: int, queued: int, uncommitted: int, workers: int, bound: str) -> None:
        """The state of the driver. bound: a stage, "" before one is known."""
        self._partitions = {"waiting": waiting, "assigned": assigned, "done": done}
        self._queues = {"workers": queued, "commit": uncommitted}
        self._workers, self._bound = workers, bound

    def version(self, number: int, made: float) -> None:
        """The newest committed version. made: Unix time."""
        self._version = (number, made)

    def ended(self) -> None:
        """The last that is published."""
        self._running, self._workers = False, 0
        self._queues = dict.fromkeys(self._queues, 0)
        self._partitions["waiting"] += self._partitions["assigned"]
        self._partitions["assigned"] = 0
        self.publish()

    def publish_if_due(self, now_s: float) -> None:
        if self._sinks and (self._published_s is None or now_s - self._published_s >= PUBLISH_EVERY_S):
            self._published_s = now_s
            self.publish()

    def publish(self) -> None:
        samples = [*self.samples()]
        for sink in self._sinks:
            try:
                sink.write(self.dataset, samples)
            except Exception as error:  # a job does not fail for want of a number about it
                log.warning("metrics could not be written: %s", error)

    def samples(self) -> Iterator[Sample]:
        for measure in (DOCUMENTS, TOKENS, TOKENS_DROPPED, ROWS_QUARANTINED):
            yield Sample(measure, self._totals[measure.name.removeprefix("embermill_").removesuffix("_total")])
        for stage in STAGES:
            yield Sample(STAGE_SECONDS, self._seconds[stage], (stage,))
            yield Sample(BOUND, float(stage == self._bound), (stage,))
        yield from (Sample(RETRIES, count, (kind,)) for kind, count in sorted(self._retries.items()))
        yield from (Sample(PARTITIONS, count, (state,)) for state, count in self._partitions.items())
        yield from (Sample(QUEUE_DEPTH, count, (queue,)) for queue, count in self._queues.items())
        yield Sample(WORKERS, self._workers)
        yield Sample(RUNNING, float(self._running))
        if self._progress_time is not None:
            yield Sample(PROGRESS_TIME, self._progress_time)
        if self._version is not None:
            yield Sample(VERSION, self._version[0])
            yield Sample(VERSION_TIME, self._version[1])
