"""The seam between driver and workers, with InlinePool and RayPool behind it: the driver sends tasks to workers and gets events back.

A pool never loses an event of a living worker and always reports a dead one. Ray is imported in embermill.jobs.pool.ray_pool, ray_session and demand alone.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from embermill.jobs.errors import JobError
from embermill.jobs.receipt import Event, Ready, Task
from embermill.jobs.worker.task_queue import TaskQueue


@dataclass(frozen=True)
class Died:
    """A worker is gone; what it was given must be given to another. error: its last words, with traceback if any.

    kind: "lost" (the process is gone), "late" (it did not start in time), "usage" (it refuses to work: device, model or fingerprint), "defect" (it failed
    to start), "stalled" (its work stood still, and it was ended). host, node: where it was, as far as that is known; node is the pool's own name for it.
    """

    error: str
    kind: str = "lost"
    host: str = ""
    node: str = ""


class Pool(Protocol):
    def start_worker(self, avoid: Collection[str] = ()) -> int:
        """Begin another worker, on none of those nodes, once there is room; its number, never used again. Its first event is Ready, or Died."""
        ...

    def room(self) -> Mapping[str, int] | None:
        """How many workers each node that is there now has room for, busy ones included; None where that never changes."""
        ...

    def want(self, more: int) -> None:
        """So many workers beside those that were started would have work, were there nodes for them: whoever brings nodes is told. Replaces what was wanted."""
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


class PoolWorker(Protocol):
    """What a pool drives: embermill.jobs.worker.worker.Worker, or a small one in a test."""

    def start(self) -> Ready:
        """Load the engine. UsageError where it refuses to work."""
        ...

    def run_queued(self, tasks: TaskQueue[Task], emit: Callable[[Event], None]) -> None:
        """Embed what is queued, until nothing is."""
        ...


def last_words(error: BaseException) -> Died:
    """An exception that ended a worker, as data."""
    if isinstance(error, JobError):
        return Died(str(error), "usage" if error.exit_code == 2 else "lost")
    return Died("".join(traceback.format_exception(error)), "defect")
