"""Opening a pool: Ray or none, workers made from configuration and plan, and the wait for the first of them."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from embermill.jobs.config import JobConfig
from embermill.jobs.errors import Interrupted, UsageError
from embermill.jobs.plan.files import Plan
from embermill.jobs.pool.base import Died, Pool
from embermill.jobs.pool.placement import Placement
from embermill.jobs.receipt import Event, Ready
from embermill.jobs.storage import Folder
from embermill.jobs.worker.worker import WorkerJob

Heard = list[tuple[int, Event | Died]]


@dataclass(frozen=True)
class OpenPool:
    """A pool that workers can be started on, and how many are wanted."""

    pool: Pool
    placement: Placement


@contextlib.contextmanager
def open_pool(config: JobConfig, folder: Folder, plan: Plan | None) -> Iterator[OpenPool]:
    """Ray, and workers on it; all that was started is gone at the end."""
    from embermill.jobs.pool.ray_pool import RayPool
    from embermill.jobs.pool.ray_session import RaySession

    with RaySession(config, plan.device_kind if plan else None) as session:
        placement = session.placement()
        with _mark(folder, session.several_nodes) as mark:
            job = worker_job(config, placement, plan, mark)
            pool = RayPool(job, placement, start_timeout_s=config.workers.start_timeout_s)
            try:
                yield OpenPool(pool, placement)
            finally:
                pool.close()


def worker_job(config: JobConfig, placement: Placement, plan: Plan | None, mark: tuple[str, bytes] | None = None) -> WorkerJob:
    """What each worker is made from. Where there is a plan, `auto` is what it became then."""
    resolved = config if plan is None else config.as_planned(plan.precision, plan.fingerprint)
    return WorkerJob(resolved, placement.device, placement.cpus, mark, (str(Path.cwd()),))


@contextlib.contextmanager
def _mark(folder: Folder, wanted: bool) -> Iterator[tuple[str, bytes] | None]:
    """A file by which workers on other nodes see that they write where the driver reads."""
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


def await_first(pool: Pool, workers: int, stop: threading.Event) -> tuple[Heard, Ready]:
    """Start all workers; what was heard until the first one was ready. Its error, where none will be."""
    for _ in range(workers):
        pool.start_worker()
    heard: Heard = []
    while True:
        if stop.is_set():
            raise Interrupted("interrupted before the first worker was ready; nothing was changed")
        heard += pool.events(0.5)
        if ready := next((event for _, event in heard if isinstance(event, Ready)), None):
            return heard, ready
        died = [event for _, event in heard if isinstance(event, Died)]
        if len(died) == workers:
            raise _no_worker(died)


def _no_worker(died: list[Died]) -> Exception:
    """Why not one worker came up: what a person can mend goes first."""
    for kind, error in (("usage", UsageError), ("lost", Interrupted), ("defect", RuntimeError)):
        words = next((each.error for each in died if each.kind == kind), None)
        if words is not None:
            return error(words)
    return RuntimeError("no worker came up, and none said why")
