"""Workers in processes of their own on this machine, without Ray: for measuring driver and workers apart."""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import re
import threading
from collections.abc import Collection, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import SimpleQueue
from typing import ClassVar

from embermill.jobs.config import JobConfig
from embermill.jobs.plan.files import Plan
from embermill.jobs.pool.base import Died
from embermill.jobs.pool.opening import OpenPool, worker_job
from embermill.jobs.pool.placement import Node, place
from embermill.jobs.pool.remote_worker import run_worker
from embermill.jobs.receipt import Event, Task
from embermill.jobs.storage import Folder
from embermill.jobs.worker.worker import Making, WorkerJob


class ProcessPool:
    """peaks_mb: of every worker that was ended, what it held at most, in this process."""

    peaks_mb: ClassVar[list[int]] = []

    def __init__(self, job: WorkerJob) -> None:
        self._job = pickle.dumps(job)
        self._context = multiprocessing.get_context("spawn")
        self._workers: dict[int, tuple[BaseProcess, Connection]] = {}
        self._started = 0

    def start_worker(self, avoid: Collection[str] = ()) -> int:
        number, self._started = self._started, self._started + 1
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(self._job, theirs), daemon=True)
        process.start()
        theirs.close()
        self._workers[number] = (process, ours)
        return number

    def room(self) -> None:
        """As many processes as were asked for."""

    def want(self, more: int) -> None:
        """Nobody brings any."""

    def submit(self, worker: int, task: Task) -> None:
        if worker in self._workers:
            with contextlib.suppress(OSError):
                self._workers[worker][1].send_bytes(pickle.dumps(task))

    def events(self, timeout_s: float) -> list[tuple[int, Event | Died]]:
        found: list[tuple[int, Event | Died]] = []
        numbers = {connection: number for number, (_, connection) in self._workers.items()}
        for connection in wait([*numbers], timeout_s):
            assert isinstance(connection, Connection)
            number = numbers[connection]
            try:
                found += [(number, event) for event in pickle.loads(connection.recv_bytes())]
            except (EOFError, ConnectionError):  # the latter where it died while it spoke
                self.stop_worker(number)
                found.append((number, Died("its process is gone")))
        return found

    def stop_worker(self, worker: int) -> None:
        process, connection = self._workers.pop(worker, (None, None))
        if process is not None and connection is not None:
            ProcessPool.peaks_mb += peak_mb(process.pid or 0)
            process.kill()
            process.join()
            connection.close()

    def close(self) -> None:
        for worker in [*self._workers]:
            self.stop_worker(worker)


@contextlib.contextmanager
def open_process_pool(config: JobConfig, folder: Folder, plan: Plan | None, making: Making | None = None) -> Iterator[OpenPool]:
    """In place of embermill.jobs.pool.opening.open_pool: as many workers as the configuration counts, with one core each."""
    count = config.workers.count
    placement = place(config.workers, [Node(cpus=count if isinstance(count, int) else 1, gpus=0)], joined=False, planned_device="cpu")
    pool = ProcessPool(worker_job(config, placement, plan, making=making))
    try:
        yield OpenPool(pool, placement)
    finally:
        pool.close()


def peak_mb(pid: int) -> list[int]:
    """What the kernel says that a process held at most; nothing of one that is gone."""
    with contextlib.suppress(OSError):
        return [int(found) // 1024 for found in re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())]
    return []


def _serve(job: bytes, connection: Connection) -> None:
    incoming: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_receive, args=(connection, incoming), daemon=True).start()
    for events in run_worker(job, incoming):
        connection.send_bytes(events)


def _receive(connection: Connection, incoming: SimpleQueue[bytes]) -> None:
    with contextlib.suppress(EOFError, OSError):
        while True:
            incoming.put(connection.recv_bytes())
