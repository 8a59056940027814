"""Workers in this process, with no Ray."""

from __future__ import annotations

from collections.abc import Callable, Collection

from embermill.jobs.pool.base import Died, PoolWorker, last_words
from embermill.jobs.receipt import Event, Task
from embermill.jobs.worker.task_queue import TaskQueue


class InlinePool:
    """Workers in this process, one after another, inside `events`: for tests and for following a job in a debugger."""

    def __init__(self, make_worker: Callable[[], PoolWorker]) -> None:
        self._make_worker = make_worker
        self._workers: dict[int, tuple[PoolWorker, TaskQueue[Task]]] = {}
        self._events: list[tuple[int, Event | Died]] = []
        self._started = 0

    def start_worker(self, avoid: Collection[str] = ()) -> int:
        number, self._started = self._started, self._started + 1
        if avoid:
            self._events.append((number, Died("there is no other node: these workers are threads of the driver", "usage")))
            return number
        try:
            worker = self._make_worker()
            self._events.append((number, worker.start()))
            self._workers[number] = (worker, TaskQueue())
        except Exception as error:
            self._events.append((number, last_words(error)))
        return number

    def room(self) -> None:
        """This process, always."""

    def want(self, more: int) -> None:
        """Nobody brings any."""

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
