"""InlinePool and RayPool behind one seam: the driver sends tasks to workers and gets events back.

A pool never loses an event of a living worker and always reports a dead one. Ray is imported in RayPool only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from jobs.receipt import Event, Task


@dataclass(frozen=True)
class Died:
    """A worker is gone; what it was given must be given to another. error: its last words, with traceback if any."""

    error: str


class Pool(Protocol):
    def start_worker(self) -> int:
        """Begin another worker; its number. Its first event is Ready, or Died."""
        ...

    def submit(self, worker: int, task: Task) -> None:
        """Queue one more partition on it; never blocks."""
        ...

    def events(self, timeout_s: float) -> list[tuple[int, Event | Died]]:
        """What came since the last call; waits up to timeout_s for the first one."""
        ...

    def stop_worker(self, worker: int) -> None:
        """End it at once, whatever it is doing."""
        ...

    def close(self) -> None: ...
