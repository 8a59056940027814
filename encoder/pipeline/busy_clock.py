"""Busy time of a stage: the seconds during which at least one thread was at work in it."""

from __future__ import annotations

import threading
import time
from types import TracebackType


class BusyClock:
    """A context manager that many threads may be inside of at once; their common time counts once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._since_s = 0.0
        self._total_s = 0.0

    def enter(self) -> None:
        with self._lock:
            if not self._inside:
                self._since_s = time.monotonic()
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._total_s += time.monotonic() - self._since_s

    @property
    def seconds(self) -> float:
        """Total so far, the running stretch included."""
        with self._lock:
            return self._total_s + (time.monotonic() - self._since_s if self._inside else 0.0)

    def __enter__(self) -> BusyClock:
        self.enter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.leave()
