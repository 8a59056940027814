"""A Worker inside its own process: tasks come in as bytes, events go out as bytes, in batches. Knows nothing of Ray."""

from __future__ import annotations

import contextlib
import pickle
import threading
from collections.abc import Iterator
from queue import Empty, SimpleQueue

from embermill.jobs.engine.loading import import_engine
from embermill.jobs.pool.base import Died, last_words
from embermill.jobs.receipt import Alive, Event, Task
from embermill.jobs.worker.task_queue import TaskQueue
from embermill.jobs.worker.worker import Worker, WorkerJob

PULSE_S = 30.0  # a worker that has nothing to say says so


def import_ahead(engine: str, device: str) -> None:
    """What a worker with that engine (model.engine) on "cpu" or "gpu" will import. This file has by now imported what each needs."""
    with contextlib.suppress(Exception):
        import_engine(engine, device)


def run_worker(job: bytes, incoming: SimpleQueue[bytes]) -> Iterator[bytes]:
    """job: a pickled WorkerJob. incoming: pickled tasks. Yields pickled lists of events: Ready first, Died last."""
    outgoing: SimpleQueue[Event | Died] = SimpleQueue()
    tasks: TaskQueue[Task] = TaskQueue()
    threading.Thread(target=_work, args=(pickle.loads(job), tasks, outgoing), name="worker", daemon=True).start()
    threading.Thread(target=_pass_on, args=(incoming, tasks), name="tasks", daemon=True).start()
    while True:
        events = [_next(outgoing), *_what_is_there(outgoing)]
        yield pickle.dumps(events)
        if isinstance(events[-1], Died):
            return


def _next(outgoing: SimpleQueue[Event | Died]) -> Event | Died:
    try:
        return outgoing.get(timeout=PULSE_S)
    except Empty:
        return Alive()


def _work(job: WorkerJob, tasks: TaskQueue[Task], outgoing: SimpleQueue[Event | Died]) -> None:
    try:
        worker = Worker(job)
        outgoing.put(worker.start())
        worker.run(tasks, outgoing.put)
    except BaseException as error:
        outgoing.put(last_words(error))


def _pass_on(incoming: SimpleQueue[bytes], tasks: TaskQueue[Task]) -> None:
    while True:
        tasks.put(pickle.loads(incoming.get()))


def _what_is_there(queue: SimpleQueue[Event | Died]) -> Iterator[Event | Died]:
    while True:
        try:
            yield queue.get_nowait()
        except Empty:
            return
