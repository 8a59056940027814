"""InlinePool and RayPool behind one seam: the driver sends tasks to workers and gets events back.

A pool never loses an event of a living worker and always reports a dead one. Ray is imported in jobs.ray_pool only.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from jobs.channel import TaskQueue
from jobs.errors import JobError
from jobs.receipt import Event, Ready, Task


@dataclass(frozen=True)
class Died:
    """A worker is gone; what it was given must be given to another. error: its last words, with traceback if any.

    kind: "lost" (the process is gone, or did not start in time), "usage" (it refuses to work: device, model or fingerprint), "defect" (it failed to start).
    """

    error: str
    kind: str = "lost"


class Pool(Protocol):
    def start_worker(self) -> int:
        """Begin another worker; its number, never used again. Its first event is Ready, or Died."""
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
    """What a pool drives: jobs.worker.Worker, or a small one in a test."""

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


class InlinePool:
    """Workers in this process, one after another, inside `events`: for tests and for following a job in a debugger."""

    def __init__(self, make_worker: Callable[[], PoolWorker]) -> None:
        self._make_worker = make_worker
        self._workers: dict[int, tuple[PoolWorker, TaskQueue[Task]]] = {}
        self._events: list[tuple[int, Event | Died]] = []
        self._started = 0

    def start_worker(self) -> int:
        number, self._started = self._started, self._started + 1
        try:
            worker = self._make_worker()
            self._events.append((number, worker.start()))
            self._workers[number] = (worker, TaskQueue())
        except Exception as error:
            self._events.append((number, last_words(error)))
        return number

    def submit(self, worker: int, task: Task) -> None:
        if worker in self._workers:
            self._workers[worker][1].put(task)

    def events(self, timeout_s: float) -> list[tuple[int, Event | Died]]:
        if not self._events:
            for number in [number for number, (_, tasks) in self._workers.items() if not tasks.empty]:
                self._run(number)
        events, self._events = self._events, []
        return events

    def _run(self, number: int) -> None:
        worker, tasks = self._workers[number]
        try:
            worker.run_queued(tasks, lambda event: self._events.append((number, event)))
        except Exception as error:
            self.stop_worker(number)
            self._events.append((number, last_words(error)))

    def stop_worker(self, worker: int) -> None:
        self._workers.pop(worker, None)

    def close(self) -> None:
        self._workers.clear()
