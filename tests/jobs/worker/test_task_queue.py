"""What a worker still has to do: order, waiting, and leaving."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from embermill.jobs.worker.task_queue import TaskQueue


def test_what_is_put_back_comes_first_and_in_order() -> None:
    queue: TaskQueue[int] = TaskQueue()
    assert queue.empty and queue.take(0) is None
    for number in (3, 4):
        queue.put(number)
    queue.put_back([1, 2])
    queue.finish()
    assert queue.wait() and [queue.take(None) for _ in range(5)] == [1, 2, 3, 4, None] and not queue.wait()


def test_a_taker_that_leaves_stops_waiting_and_takes_nothing_more() -> None:
    queue, left = TaskQueue[int](), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(queue.take, None, left.is_set)
        left.set()
        queue.wake()
        assert taken.result(timeout=20) is None
    queue.put(1)
    assert queue.take(None, left.is_set) is None, "it is the next one's"
    assert queue.take(None) == 1
