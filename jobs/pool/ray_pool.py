"""RayPool: every worker is a Ray actor with its own device; tasks go out as calls, events come back through one long streaming generator each.

Actor calls are at most once here (no restarts, no retries): a worker that is lost is reported, and the driver decides.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

import embermill
from embermill.jobs import allocators
from embermill.jobs.pool.base import Died
from embermill.jobs.pool.placement import Placement
from embermill.jobs.receipt import Event, Ready, Task
from embermill.jobs.worker.worker import WorkerJob

THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "RAYON_RS_NUM_CPUS", "ARROW_NUM_THREADS")


@dataclass
class _Actor:
    handle: Any
    events: Any  # generator of references to lists of events
    started_s: float
    ready: bool = False


class RayPool:
    """Workers on the Ray that is connected. start_timeout_s: from being asked for to being ready, loading the engine included."""

    def __init__(self, job: WorkerJob, placement: Placement, *, start_timeout_s: float) -> None:
        self._job, self._placement, self._start_timeout_s = pickle.dumps(job), placement, start_timeout_s
        self._actors: dict[int, _Actor] = {}
        self._died: list[tuple[int, Event | Died]] = []
        self._started = 0

    def start_worker(self) -> int:
        number, self._started = self._started, self._started + 1
        settings = allocators.worker_settings(self._placement.device, self._placement.cpus)
        options = {
            "num_cpus": self._placement.cpus,
            "num_gpus": self._placement.gpus,
            "max_restarts": 0,
            "max_task_retries": 0,
            "runtime_env": {"env_vars": settings | dict.fromkeys(THREAD_LIMITS, str(self._placement.cpus))},
        }
        handle = _actor_class().options(**options).remote()
        events = handle.run.options(num_returns="streaming").remote(str(Path(embermill.__file__).parent.parent), self._job)
        self._actors[number] = _Actor(handle, events, time.monotonic())
        return number

    def submit(self, worker: int, task: Task) -> None:
        if actor := self._actors.get(worker):
            actor.handle.submit.remote(pickle.dumps(task))

    def events(self, timeout_s: float) -> list[tuple[int, Event | Died]]:
        self._give_up_late_ones()
        if self._died:
            timeout_s = 0
        events = [(number, event) for number in self._with_events(timeout_s) for event in self._next(number)]
        died, self._died = self._died, []
        return events + died

    def stop_worker(self, worker: int) -> None:
        if actor := self._actors.pop(worker, None):
            ray.kill(actor.handle)

    def close(self) -> None:
        for number in list(self._actors):
            self.stop_worker(number)

    def _with_events(self, timeout_s: float) -> list[int]:
        """Workers that have said something, or that are gone."""
        by_stream = {actor.events: number for number, actor in self._actors.items()}
        if not by_stream:
            time.sleep(timeout_s)
            return []
        streams = list(by_stream)
        ready, _ = ray.wait(streams, num_returns=1, timeout=timeout_s, fetch_local=False)
        if ready and len(streams) > 1:
            ready, _ = ray.wait(streams, num_returns=len(streams), timeout=0, fetch_local=False)
        return [by_stream[stream] for stream in ready]

    def _next(self, number: int) -> list[Event | Died]:
        """The next batch of one worker's events; its end, however it came, is Died."""
        actor = self._actors[number]
        try:
            events: list[Event | Died] = pickle.loads(ray.get(next(actor.events)))
        except StopIteration:
            events = [Died("the worker ended by itself")]
        except Exception as error:
            events = [Died(_last_words(error))]
        actor.ready = actor.ready or any(isinstance(event, Ready) for event in events)
        if any(isinstance(event, Died) for event in events):
            self.stop_worker(number)
        return events

    def _give_up_late_ones(self) -> None:
        now = time.monotonic()
        for number, actor in list(self._actors.items()):
            if not actor.ready and now - actor.started_s > self._start_timeout_s:
                self.stop_worker(number)
                self._died.append((number, Died(self._too_late())))

    def _too_late(self) -> str:
        room = f"{self._placement.cpus} CPUs and {self._placement.gpus} GPUs"
        return (
            f"a worker was not ready after {self._start_timeout_s:g} s: Ray had no room for it ({room}; see `ray status`), "
            "or loading the model takes longer: raise workers.start_timeout_s"
        )


def _last_words(error: Exception) -> str:
    """Ray's account of a lost worker, less its advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "the worker was lost: " + " ".join(lines[:6] or [type(error).__name__])[:1000]


def _actor_class() -> Any:
    """The actor. It is made inside a function so that Ray ships it by value: unpickling it imports nothing of ours before `run` has seen to the path."""

    class EmbeddingWorker:
        def __init__(self) -> None:
            import queue

            self._tasks: Any = queue.SimpleQueue()

        def run(self, package_folder: str, job: bytes) -> Iterator[bytes]:
            """Batches of events, pickled, from Ready to the end."""
            import os
            import sys
            from pathlib import Path

            # A submitted job's working directory, or the current folder, may hold folders called like ours: they come last.
            here = ("", str(Path.cwd()), os.environ.get("RAY_RUNTIME_ENV_WORKING_DIR"))
            shadowing = [entry for entry in sys.path if entry != package_folder and entry in here]
            sys.path[:] = [entry for entry in sys.path if entry not in shadowing] + shadowing
            from embermill.jobs.pool.remote_worker import run_worker

            yield from run_worker(job, self._tasks)

        @ray.method(concurrency_group="tasks")
        def submit(self, task: bytes) -> None:  # a thread of its own: `run` never ends
            self._tasks.put(task)

    remote: Any = ray.remote  # its annotations do not know of concurrency groups
    return remote(concurrency_groups={"tasks": 1})(EmbeddingWorker)


