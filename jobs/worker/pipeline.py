"""read -> embed -> write as one continuous stream over the partitions of a queue, and who is at fault where the engine ends it.

A stream ends where no task is queued, unless the engine answers promptly: then it stays open, for what comes next to follow at once.
Where an engine's exception ends it, the partitions of which the engine held texts are run again one at a time, each in a stream of its own, so that
the one at fault is named and the others lose nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from embermill.jobs.engine import Engine
from embermill.jobs.receipt import Event, Task
from embermill.jobs.worker.failures import engine_failure
from embermill.jobs.worker.stage_clock import StageClock
from embermill.jobs.worker.stream import EngineFailed, Retokenize, Stream
from embermill.jobs.worker.task_queue import TaskQueue
from embermill.jobs.worker.writing import Work

log = logging.getLogger(__name__)

IDLE_S = 0.02  # a stream that finds no task for this long ends, so that an engine that waits for more gives out what it holds


class Pipeline:
    """Embeds what waits in a queue, and says what becomes of it through `emit` (called from several threads, never two at once)."""

    def __init__(self, engine: Engine, work: Work, emit: Callable[[Event], None]) -> None:
        self._engine, self._work = engine, work
        lock = threading.Lock()

        def emit_in_turn(event: Event) -> None:
            with lock:
                emit(event)

        self._emit = emit_in_turn
        self._clock = StageClock(engine, self._emit)

    def run(self, tasks: TaskQueue[Task]) -> None:
        """Until the queue is finished and empty."""
        patience_s = None if getattr(self._engine, "answers_promptly", False) else IDLE_S
        while tasks.wait():
            self._run_for(tasks, patience_s)

    def run_queued(self, tasks: TaskQueue[Task]) -> None:
        """Until there is nothing in the queue for a moment."""
        self._run_for(tasks, IDLE_S)

    def _run_for(self, tasks: TaskQueue[Task], patience_s: float | None) -> None:
        try:
            self._stream(tasks, patience_s)
        except Retokenize as found:
            log.warning("%s", found)
            self._clock.taken_back([task.partition.number for task in found.rest])
            tasks.put_back(found.rest)
        except EngineFailed as failed:
            tasks.put_back(failed.waiting)
            if len(failed.suspects) == 1:
                self._emit(engine_failure(failed.suspects[0], failed.cause))
            else:
                for task in failed.suspects:
                    self._run_alone(task)

    def _run_alone(self, task: Task) -> None:
        alone = TaskQueue[Task]()
        alone.put(task)
        alone.finish()
        while True:
            try:
                return self._stream(alone, None)
            except Retokenize as found:
                log.warning("%s", found)
                alone.put_back(found.rest)
            except EngineFailed as failed:
                return self._emit(engine_failure(task, failed.cause))

    def _stream(self, tasks: TaskQueue[Task], patience_s: float | None) -> None:
        Stream(self._engine, self._work, self._emit, self._clock).run(tasks, patience_s)
