"""InlinePool: the seam's promises without Ray."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from embermill.jobs.errors import Interrupted, UsageError
from embermill.jobs.pool.base import Died, last_words
from embermill.jobs.pool.inline import InlinePool
from embermill.jobs.receipt import Done, Event, Ready, Task
from embermill.jobs.worker.task_queue import TaskQueue
from tests.jobs.fakes import partition, ready


class Echo:
    """Says Done for each task; dies of partition 13."""

    def start(self) -> Ready:
        return ready()

    def run_queued(self, tasks: TaskQueue[Task], emit: Callable[[Event], None]) -> None:
        while task := tasks.take(0):
            if task.partition.number == 13:
                raise ValueError("thirteen")
            emit(Done(task.partition.number, task.attempt))


class Refusing(Echo):
    def start(self) -> Ready:
        raise UsageError("not on this machine")


def test_events_come_from_the_worker_that_was_given_the_task() -> None:
    pool = InlinePool(Echo)
    first, second = pool.start_worker(), pool.start_worker()
    assert pool.events(0) == [(first, ready()), (second, ready())]
    pool.submit(second, Task(partition(1), attempt=7))
    pool.submit(first, Task(partition(2)))
    assert pool.events(0) == [(first, Done(2)), (second, Done(1, 7))]
    assert pool.events(0) == []


def test_a_dead_worker_is_reported_and_gets_nothing_more() -> None:
    pool = InlinePool(Echo)
    worker = pool.start_worker()
    pool.events(0)
    for number in (1, 13, 2):
        pool.submit(worker, Task(partition(number)))
    done, (of, died) = pool.events(0)
    assert done == (worker, Done(1)) and of == worker and isinstance(died, Died)
    assert died.kind == "defect" and "ValueError: thirteen" in died.error
    pool.submit(worker, Task(partition(3)))
    assert pool.events(0) == []


def test_a_worker_that_refuses_says_so() -> None:
    pool = InlinePool(Refusing)
    assert pool.events(0) == []
    assert pool.events(0) == [] and pool.start_worker() == 0
    assert pool.events(0) == [(0, Died("not on this machine", "usage"))]


def test_a_stopped_worker_does_nothing_more() -> None:
    pool = InlinePool(Echo)
    worker = pool.start_worker()
    pool.events(0)
    pool.submit(worker, Task(partition(1)))
    pool.stop_worker(worker)
    assert pool.events(0) == []
    pool.close()


@pytest.mark.parametrize(("error", "kind"), [(UsageError("x"), "usage"), (Interrupted("x"), "lost"), (KeyError("x"), "defect")])
def test_last_words(error: Exception, kind: str) -> None:
    assert last_words(error).kind == kind
