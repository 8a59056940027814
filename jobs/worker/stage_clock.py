"""How long each stage of a worker is busy, and Progress at a pace that a driver can bear."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from embermill.jobs.engine import Embedded, Engine
from embermill.jobs.receipt import Event, Progress

T = TypeVar("T")
PROGRESS_EVERY_S = 0.25


class StageClock:
    """Busy seconds of read, tokenize, encode and write; waiting for another stage is not being busy.

    An engine that tokenises and encodes in threads of its own says so in an attribute `stage_seconds`: stage -> busy seconds since it was made.
    Where it has none, all its time counts as "encode".
    """

    def __init__(self, engine: Engine, emit: Callable[[Event], None]) -> None:
        self._engine, self._emit = engine, emit
        self._lock = threading.Lock()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._reported: dict[str, float] = dict(getattr(engine, "stage_seconds", {}))
        self._counts: dict[int, list[int]] = {}  # partition -> rows, tokens, bytes of text not reported yet
        self._waited_s = 0.0
        self._engine_thread = 0
        self._last_s = 0.0
        self.has_answered = False  # the engine, once at least

    def began(self, partition: int) -> None:
        """Its first row is about to be read."""
        self._report(partition, "read")

    def embedded(self, partition: int, embedded: Embedded, text_bytes: int) -> None:
        """One batch came back from the engine; the first one is told of at once, since it is waited for. text_bytes: of its texts."""
        with self._lock:
            is_first, self.has_answered = not self.has_answered, True
            counts = self._counts.setdefault(partition, [0, 0, 0])
            counts[0] += len(embedded.num_tokens)
            counts[1] += int(embedded.num_tokens.sum())
            counts[2] += text_bytes
            due = is_first or time.monotonic() - self._last_s >= PROGRESS_EVERY_S
        if due:
            self._report(partition, "encode")

    def moved(self, partition: int) -> None:
        """The engine is computing, and has nothing to show yet."""
        if time.monotonic() - self._last_s >= PROGRESS_EVERY_S:
            self._report(partition, "encode")

    def taken_back(self, partitions: list[int]) -> None:
        """They start over: what was embedded of them counts for nothing."""
        with self._lock:
            for partition in partitions:
                self._counts.pop(partition, None)

    def published(self, partition: int) -> None:
        """One of its shards stands."""
        self._report(partition, "write")

    @contextmanager
    def busy(self, stage: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._add(stage, time.perf_counter() - begin)

    def timed(self, stage: str, items: Iterator[T]) -> Iterator[T]:
        """The same items; what they take to come counts for the stage."""
        while True:
            with self.busy(stage):
                item = next(items, _END)
            if isinstance(item, _End):
                return
            yield item

    def timed_engine(self, answers: Iterator[Embedded]) -> Iterator[Embedded]:
        """The engine's answers; what they take counts as encode, less what the engine waited for texts in this same thread."""
        self._engine_thread = threading.get_ident()
        while True:
            begin, waited = time.perf_counter(), self._waited_s
            answer = next(answers, _END)  # not None, which an engine of somebody's own may give
            if not hasattr(self._engine, "stage_seconds"):
                self._add("encode", time.perf_counter() - begin - (self._waited_s - waited))
            if isinstance(answer, _End):
                return
            yield answer

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The engine asked for texts and there are none yet."""
        begin = time.perf_counter()
        yield
        if threading.get_ident() == self._engine_thread:
            self._waited_s += time.perf_counter() - begin

    def _add(self, stage: str, seconds: float) -> None:
        with self._lock:
            self._seconds[stage] += seconds

    def _report(self, partition: int, stage: str) -> None:
        with self._lock:
            for name, total in dict(getattr(self._engine, "stage_seconds", {})).items():
                self._seconds[name] += total - self._reported.get(name, 0.0)
                self._reported[name] = total
            rows, tokens, text_bytes = self._counts.pop(partition, (0, 0, 0))
            seconds, self._seconds = dict(self._seconds), defaultdict(float)
            self._last_s = time.monotonic()
            progress = Progress(partition, stage, rows, tokens, self._last_s, seconds, text_bytes)
        self._emit(progress)


class _End:
    pass


_END: Any = _End()
