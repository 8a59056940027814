"""RayPool: every worker is a Ray actor with its own device; tasks go out as calls, events come back through one long streaming generator each.

Actor calls are at most once here (no restarts, no retries): a worker that is lost is reported, and the driver decides.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import pickle
import signal
import socket
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import embermill
from embermill.jobs.errors import Interrupted
from embermill.jobs.pool.base import Died
from embermill.jobs.pool.placement import Placement
from embermill.jobs.process import allocators
from embermill.jobs.receipt import Event, Ready, Task
from embermill.jobs.worker.worker import WorkerJob

THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "RAYON_RS_NUM_CPUS", "ARROW_NUM_THREADS")
LOOK_FOR_NODES_S = 5.0  # while a worker is on its way


class Whereabouts(NamedTuple):
    """What a worker's process says first, before it imports anything of ours."""

    host: str
    node: str
    pid: int


@dataclass
class _Actor:
    handle: Any
    events: Any  # generator of references to lists of events
    started_s: float
    ready: bool = False
    where: Whereabouts | None = None  # known once its process runs
    aimed_at: str = ""  # the node it was sent to, where that was not left to Ray


class RayPool:
    """Workers on the Ray that is connected. start_timeout_s: from being asked for to being ready, loading the engine included."""

    def __init__(self, job: WorkerJob, placement: Placement, *, start_timeout_s: float) -> None:
        self._job, self._placement, self._start_timeout_s = pickle.dumps(job), placement, start_timeout_s
        self._actors: dict[int, _Actor] = {}
        self._died: list[tuple[int, Event | Died]] = []
        self._started = 0
        self._looked_s = 0.0  # for nodes

    def start_worker(self, avoid: Collection[str] = ()) -> int:
        number, self._started = self._started, self._started + 1
        node = self._node_with_room(avoid) if avoid else ""
        if node is None:
            self._died.append((number, Died(f"no other node has room for a worker; left out: {', '.join(sorted(avoid))}", "usage")))
            return number
        settings = allocators.worker_settings(self._placement.device, self._placement.cpus)
        options: dict[str, Any] = {
            "num_cpus": self._placement.cpus,
            "num_gpus": self._placement.gpus,
            "max_restarts": 0,
            "max_task_retries": 0,
            "runtime_env": {"env_vars": settings | dict.fromkeys(THREAD_LIMITS, str(self._placement.cpus))},
        }
        if node:
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
        handle = _actor_class().options(**options).remote()
        events = handle.run.options(num_returns="streaming").remote(str(Path(embermill.__file__).parent.parent), self._job)
        self._actors[number] = _Actor(handle, events, time.monotonic(), aimed_at=node)
        return number

    def _node_with_room(self, avoid: Collection[str]) -> str | None:
        """A node for one more of our workers, by what Ray may give out there and how many of ours are on it."""
        listed: Any = ray.nodes  # it has no annotations
        ours = Counter(actor.where.node if actor.where else actor.aimed_at for actor in self._actors.values())
        for node in listed():
            there = node["Resources"]
            room = int(min(there.get("CPU", 0) // self._placement.cpus, there.get("GPU", 0) if self._placement.gpus else math.inf))
            if node["Alive"] and node["NodeID"] not in avoid and ours[node["NodeID"]] < room:
                return str(node["NodeID"])
        return None

    def submit(self, worker: int, task: Task) -> None:
        if actor := self._actors.get(worker):
            actor.handle.submit.remote(pickle.dumps(task))

    def events(self, timeout_s: float) -> list[tuple[int, Event | Died]]:
        self._give_up_late_ones()
        self._require_a_node()
        if self._died:
            timeout_s = 0
        events = [(number, event) for number in self._with_events(timeout_s) for event in self._next(number)]
        died, self._died = self._died, []
        return events + died

    def stop_worker(self, worker: int) -> None:
        if actor := self._actors.pop(worker, None):
            ray.kill(actor.handle)
            if actor.where and actor.where.host == socket.gethostname():
                _wake(actor.where.pid)

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
            said: Whereabouts | list[Event | Died] = pickle.loads(ray.get(next(actor.events)))
        except StopIteration:
            said = [Died("the worker ended by itself")]
        except Exception as error:
            said = [Died(_last_words(error))]
        if isinstance(said, tuple):
            actor.where = Whereabouts(*said)
            return []
        events = [self._located(actor, event) for event in said]
        actor.ready = actor.ready or any(isinstance(event, Ready) for event in events)
        if any(isinstance(event, Died) for event in events):
            self.stop_worker(number)
        return events

    def _located(self, actor: _Actor, event: Event | Died) -> Event | Died:
        """Where a worker runs is known to Ray alone."""
        if actor.where is None:
            return event
        match event:
            case Ready():
                return replace(event, node=actor.where.node)
            case Died():
                return replace(event, host=actor.where.host, node=actor.where.node)
        return event

    def _require_a_node(self) -> None:
        """Interrupted where no node is left to start a worker on: Ray itself would wait for one for ever."""
        now_s = time.monotonic()
        waited_s = max((now_s - actor.started_s for actor in self._actors.values() if not actor.ready), default=0.0)
        if waited_s < LOOK_FOR_NODES_S or now_s - self._looked_s < LOOK_FOR_NODES_S:
            return
        self._looked_s = now_s
        listed: Any = ray.nodes  # it has no annotations
        if not any(node["Alive"] for node in listed()):
            raise Interrupted("no node of Ray is left to start a worker on, its raylet has died: what is committed stays; run the same command again")

    def _give_up_late_ones(self) -> None:
        now = time.monotonic()
        for number, actor in list(self._actors.items()):
            if not actor.ready and now - actor.started_s > self._start_timeout_s:
                self.stop_worker(number)
                self._died.append((number, self._located(actor, Died(self._too_late(), "late"))))

    def _too_late(self) -> str:
        room = f"{self._placement.cpus} CPUs and {self._placement.gpus} GPUs"
        return (
            f"a worker was not ready after {self._start_timeout_s:g} s: Ray had no room for it ({room}; see `ray status`), "
            "or loading the model takes longer: raise workers.start_timeout_s"
        )


def _last_words(error: Exception) -> str:
    """Ray's account of a lost worker, less its advice; of an exception that ended one, that exception."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, Exception):
        return f"the worker failed: {type(cause).__name__}: {cause}"[:1000]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "the worker was lost: " + " ".join(lines[:6] or [type(error).__name__])[:1000]


def _wake(pid: int) -> None:
    """A worker's process on this machine that is stopped (SIGSTOP) ends once it hears of it; Ray itself would wait for seconds before it kills it.

    It is not killed from here: Ray would tell of a worker that died unexpectedly.
    """
    with contextlib.suppress(OSError):
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::EmbeddingWorker"):
            os.kill(pid, signal.SIGCONT)


@functools.cache
def _actor_class() -> Any:
    """The actor. It is made inside a function so that Ray ships it by value: unpickling it imports nothing of ours before `run` has seen to the path.

    Made once: each further class would be kept, in the driver and in Ray's control store, for every worker that is replaced.
    """

    class EmbeddingWorker:
        def __init__(self) -> None:
            import queue

            self._tasks: Any = queue.SimpleQueue()

        def run(self, package_folder: str, job: bytes) -> Iterator[bytes]:
            """Batches of events, pickled, from Ready to the end."""
            import os
            import pickle
            import socket
            import sys
            from pathlib import Path

            yield pickle.dumps((socket.gethostname(), ray.get_runtime_context().get_node_id(), os.getpid()))
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


