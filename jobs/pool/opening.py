"""Opening a pool: Ray or none, workers made from configuration and plan, and the wait for the first of them."""

from __future__ import annotations

import contextlib
import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from embermill.jobs.config import JobConfig
from embermill.jobs.errors import Interrupted, UsageError
from embermill.jobs.plan.files import Plan
from embermill.jobs.pool.base import Died, Pool
from embermill.jobs.pool.nodes import NODES_FAULT, Nodes
from embermill.jobs.pool.placement import Placement, wants_of
from embermill.jobs.pool.ray_ahead import session_for
from embermill.jobs.receipt import Event, Ready
from embermill.jobs.storage import Folder
from embermill.jobs.worker.worker import Making, WorkerJob

log = logging.getLogger(__name__)
MOST_STARTS = 3  # of each worker that is wanted, before the first is ready
Heard = list[tuple[int, Event | Died]]


@dataclass(frozen=True)
class OpenPool:
    """A pool that workers can be started on, and how many are wanted.

    wait: until they can be, since a private Ray comes up beside what is done meanwhile. Returns when its start was begun and done, by time.monotonic();
    None where there was nothing to start. Raises what went wrong.
    """

    pool: Pool
    placement: Placement
    wait: Callable[[], tuple[float, float] | None] = lambda: None

    def begin_with(self, useful: int) -> int:
        """Workers to begin with, where so many would have work, once they can be started; the pool is told how many more would."""
        self.wait()
        workers = max(1, min(self.placement.count, useful))
        self.pool.want(max(0, int(min(self.placement.most, useful)) - workers))
        return workers


@contextlib.contextmanager
def open_pool(config: JobConfig, folder: Folder, plan: Plan | None, making: Making | None = None) -> Iterator[OpenPool]:
    """Ray, and workers on it; all that was started is gone at the end. making: see worker_job.

    A private Ray, and on it the first worker, come up beside what is done next.
    """
    from embermill.jobs.pool.demand import Demand
    from embermill.jobs.pool.ray_pool import RayPool

    with session_for(config, plan.device_kind if plan else None) as session:
        placement = session.placement()
        with _mark(folder, session.joined) as mark:
            job, workers = worker_job(config, placement, plan, mark, making), config.workers
            demand = Demand(wants_of(workers, placement.device), dict(workers.labels)) if session.joined and workers.autoscaling else None
            pool = RayPool(
                job, placement, partial(session.room, placement.device), start_timeout_s=workers.start_timeout_s,
                resources=dict(workers.resources), name=folder.root.rstrip("/").rpartition("/")[2] or "embermill", demand=demand,
                process=session.take_process,
            )  # fmt: skip
            try:
                session.begin()
                session.then(pool.start_ahead)
                yield OpenPool(pool, placement, session.wait)
            finally:
                pool.close()


class EarlyPool:
    """A pool that is begun before it is sure that it is needed: Ray then starts beside the look at corpus and model. Leave the `with` block and it is gone.

    open_pool: as above, or another that opens one.
    """

    def __init__(self, open_pool: Callable[[JobConfig, Folder, Plan | None], contextlib.AbstractContextManager[OpenPool]]) -> None:
        self._open_pool = open_pool
        self._held = contextlib.ExitStack()
        self._begun: OpenPool | None = None

    def __enter__(self) -> EarlyPool:
        return self

    def __exit__(self, *error: Any) -> None:
        self._held.__exit__(*error)

    def begin(self, config: JobConfig, folder: Folder) -> None:
        """For a dataset that has no plan yet. A Ray that is joined is asked for nothing before it is needed."""
        if config.ray.address is None:
            self._begun = self._held.enter_context(self._open_pool(config, folder, None))

    @contextlib.contextmanager
    def open(self, config: JobConfig, folder: Folder, plan: Plan | None) -> Iterator[OpenPool]:
        """The one that was begun, if it is for such a job, else another; gone at the end."""
        begun, self._begun = self._begun, None
        if begun is not None and plan is None:
            with self._held:
                yield begun
            return
        self._held.close()
        with self._open_pool(config, folder, plan) as opened:
            yield opened


def worker_job(
    config: JobConfig, placement: Placement, plan: Plan | None, mark: tuple[str, bytes] | None = None, making: Making | None = None
) -> WorkerJob:
    """What each worker is made from. Where there is a plan, `auto` is what it became then. making: the version that is made, where it is not the run's."""
    resolved = config if plan is None else config.as_planned(plan)
    return WorkerJob(resolved, placement.device, placement.cpus, mark, (str(Path.cwd()),), making)


@contextlib.contextmanager
def _mark(folder: Folder, wanted: bool) -> Iterator[tuple[str, bytes] | None]:
    """A file by which workers on other nodes, those too that join later, see that they write where the driver reads."""
    if not wanted:
        yield None
        return
    nonce = uuid.uuid4().hex
    name = f"_embermill/tmp/mark-{nonce}"
    folder.create(name, nonce.encode())
    try:
        yield name, nonce.encode()
    finally:
        folder.remove(name)


def await_first(pool: Pool, workers: int, stop: threading.Event, nodes: Nodes) -> tuple[Heard, Ready]:
    """Start all workers; what was heard until the first one was ready. One that died is replaced, unless its node is barred by then (nodes takes it down).

    Heard holds no word of those that were replaced. Raises the error of those that were not, where none is left.
    """
    for _ in range(workers):
        pool.start_worker()
    heard, left, started = Heard(), workers, workers
    while True:
        if stop.is_set():
            raise Interrupted("interrupted before the first worker was ready; nothing was changed")
        for number, event in pool.events(0.5):
            if isinstance(event, Died):
                log.warning("worker %d: %s", number, event.error)
                barred = nodes.died(event, frozenset()) if event.kind in NODES_FAULT else event.error
                if barred is None and started < MOST_STARTS * workers:
                    pool.start_worker(frozenset(nodes.barred))
                    started += 1
                    continue
                left -= 1
            heard.append((number, event))
        if ready := next((event for _, event in heard if isinstance(event, Ready)), None):
            return heard, ready
        if left == 0:
            raise _no_worker([event for _, event in heard if isinstance(event, Died)], nodes)


def _no_worker(died: list[Died], nodes: Nodes) -> Exception:
    """Why not one worker came up: what a person can change goes first."""
    refused = next((each.error for each in died if each.kind == "usage"), None)
    if words := refused or next(iter(nodes.barred.values()), None):
        return UsageError(words)
    return Interrupted(died[-1].error)
