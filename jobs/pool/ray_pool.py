"""RayPool: every worker is a Ray actor with its own device; tasks go out as calls, events come back through one long streaming generator each.

Actor calls are at most once here (no restarts, no retries): a worker that is lost is reported, and the driver decides.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import signal
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import ray

from embermill.counts import several
from embermill.jobs.errors import Interrupted
from embermill.jobs.pool.actor import PACKAGE_FOLDER, start_actor
from embermill.jobs.pool.base import Died
from embermill.jobs.pool.demand import Demand
from embermill.jobs.pool.lean_ray import is_lean
from embermill.jobs.pool.placement import Placement, Share
from embermill.jobs.process.allocators import worker_environment
from embermill.jobs.receipt import Event, Ready, Task
from embermill.jobs.worker.worker import WorkerJob

ACCOUNT_LAGS_S = 2.0  # at most, what Ray says is free behind what it has given out
LOOK_FOR_NODES_S = 2.0  # while a worker is on its way


class Whereabouts(NamedTuple):
    """What a worker's process says first, before it imports anything of ours."""

    host: str
    node: str
    pid: int


@dataclass
class _Actor:
    handle: Any
    events: Any  # generator of references to lists of events
    started_s: float  # when it was asked for
    node: str  # where it was sent
    begun_s: float  # when that was
    ready: bool = False
    where: Whereabouts | None = None  # known once its process runs


class RayPool:
    """Workers on the Ray that is connected. start_timeout_s: from being sent to a node to being ready, loading the engine included; for so long a worker
    waits for a node with room, too.

    shares: what workers get on each node that is there now. resources: that each takes beside CPUs and a GPU. name: what Ray's dashboard calls them, with
    their numbers. demand: tells the cluster's autoscaler what there is no room for; None where nobody is to be told. process: gives an actor that was started
    before, on the one node of a private Ray, for any worker to run in; None where there is none.
    """

    def __init__(
        self, job: WorkerJob, placement: Placement, shares: Callable[[], Mapping[str, Share]], *, start_timeout_s: float,
        resources: Mapping[str, float] | None = None, name: str = "embermill",
        demand: Demand | None = None, process: Callable[[], Any] = lambda: None,
    ) -> None:  # fmt: skip
        self._job, self._placement, self._shares, self._start_timeout_s = job, placement, shares, start_timeout_s
        self._resources, self._name = dict(resources or {}), name
        self._process = process
        self._demand, self._wanted = demand, 0  # workers beside those that were started
        self._namespace = f"embermill-{uuid.uuid4().hex}"  # names are unique in one, and those of an earlier pool may not be free yet
        self._actors: dict[int, _Actor] = {}
        self._waiting: dict[int, tuple[float, frozenset[str]]] = {}  # those that no node has room for yet: when they were asked for, and where not to be
        self._died: list[tuple[int, Event | Died]] = []
        self._started = 0
        self._looked_s = self._placed_s = 0.0  # for nodes
        self._ahead: list[int] = []  # those that were started before anybody asked for them
        self._closing, self._closed = threading.Lock(), False

    def start_ahead(self) -> None:
        """Start the first worker, which any job needs, before it is asked for: for the thread that has started Ray. Others come to the pool after that."""
        with self._closing:
            if not self._closed:
                self._ahead.append(self.start_worker())

    def start_worker(self, avoid: Collection[str] = ()) -> int:
        if self._ahead and not avoid:
            return self._take_ahead()
        number, self._started = self._started, self._started + 1
        self._waiting[number] = (time.monotonic(), frozenset(avoid))
        shares = self._place_waiting()
        if avoid and number in self._waiting and not shares.keys() - set(avoid):
            del self._waiting[number]
            self._died.append((number, Died(f"no other node has room for a worker; left out: {', '.join(sorted(avoid))}", "usage")))
        return number

    def _take_ahead(self) -> int:
        """Its time counts from now on: whoever asks may have been busy for longer than a start may take."""
        number, now_s = self._ahead.pop(), time.monotonic()
        if actor := self._actors.get(number):
            actor.started_s = actor.begun_s = now_s
        elif number in self._waiting:
            self._waiting[number] = now_s, frozenset()
        return number

    def room(self) -> dict[str, int]:
        ours, unseen = self._ours(), self._unseen()
        return {node: min(share.workers, ours[node] + max(0, share.free - unseen[node])) for node, share in self._shares().items()}

    def want(self, more: int) -> None:
        self._wanted = more

    def _place_waiting(self) -> Mapping[str, Share]:
        """Send those that wait to nodes with room for them, each to the one with the most; what nodes there are."""
        self._placed_s = time.monotonic()
        shares = self._shares()
        for number, (asked_s, avoid) in list(self._waiting.items()):
            ours, unseen = self._ours(), self._unseen()
            free = {node: min(share.workers - ours[node], share.free - unseen[node]) for node, share in shares.items() if node not in avoid}
            node = max(free, key=lambda node: (free[node], node), default="")
            if node and free[node] > 0:
                del self._waiting[number]
                self._actors[number] = self._begin(number, node, shares[node], asked_s)
        return shares

    def _ours(self) -> Counter[str]:
        return Counter(actor.node for actor in self._actors.values())

    def _unseen(self) -> Counter[str]:
        """Those that Ray's account of what is free may not know of yet."""
        since_s = time.monotonic() - ACCOUNT_LAGS_S
        return Counter(actor.node for actor in self._actors.values() if actor.begun_s > since_s)

    def _begin(self, number: int, node: str, share: Share, asked_s: float) -> _Actor:
        environment = worker_environment(self._placement.device, share.threads)
        handle = self._process() or start_actor(
            f"{self._name} {number}", self._namespace, node, share, gpus=self._placement.gpus, resources=self._resources,
            environment=None if is_lean() else environment,
        )  # fmt: skip
        job = pickle.dumps(replace(self._job, threads=share.threads))
        events = handle.run.options(num_returns="streaming").remote(PACKAGE_FOLDER, job, environment)
        return _Actor(handle, events, asked_s, node, time.monotonic())

    def submit(self, worker: int, task: Task) -> None:
        if actor := self._actors.get(worker):
            actor.handle.submit.remote(pickle.dumps(task))

    def events(self, timeout_s: float) -> list[tuple[int, Event | Died]]:
        if (self._waiting or self._demand) and time.monotonic() - self._placed_s >= LOOK_FOR_NODES_S:
            self._place_waiting()
            if self._demand:
                self._demand.ask(len(self._waiting) + self._wanted)
        self._give_up_late_ones()
        self._require_a_node()
        if self._died:
            timeout_s = 0
        events = [(number, event) for number in self._with_events(timeout_s) for event in self._next(number)]
        died, self._died = self._died, []
        return events + died

    def stop_worker(self, worker: int) -> None:
        self._waiting.pop(worker, None)
        if actor := self._actors.pop(worker, None):
            ray.kill(actor.handle)
            if actor.where and actor.where.host == socket.gethostname():
                _wake(actor.where.pid)

    def close(self) -> None:
        with self._closing:
            self._closed = True
            for number in [*self._actors, *self._waiting]:
                self.stop_worker(number)
        if self._demand:
            self._demand.withdraw()

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
            # Ray raised errors on the way here that hold the frames in which they were raised, and are held by them. Python would look for such a cycle among
            # old objects once in many hours, and until then Ray keeps all that it knows of the actor. Young ones are few.
            gc.collect(1)
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
        asked_s = [actor.started_s for actor in self._actors.values() if not actor.ready] + [asked_s for asked_s, _ in self._waiting.values()]
        waited_s = max((now_s - each for each in asked_s), default=0.0)
        if waited_s < LOOK_FOR_NODES_S or now_s - self._looked_s < LOOK_FOR_NODES_S:
            return
        self._looked_s = now_s
        listed: Any = ray.nodes  # it has no annotations
        if not any(node["Alive"] for node in listed()):
            raise Interrupted("no node of Ray is left to start a worker on, its raylet has died: what is committed stays; run the same command again")

    def _give_up_late_ones(self) -> None:
        now = time.monotonic()
        for number, actor in list(self._actors.items()):
            if not actor.ready and now - actor.begun_s > self._start_timeout_s:
                self.stop_worker(number)
                self._died.append((number, self._located(actor, Died(self._too_late("loading the model takes longer, or Ray had no room"), "late"))))
        for number, (asked_s, _) in list(self._waiting.items()):
            if now - asked_s > self._start_timeout_s:
                self.stop_worker(number)
                self._died.append((number, Died(self._too_late("no node has had room for it"), "late")))

    def _too_late(self, why: str) -> str:
        wants = f"{several(self._placement.cpus, 'CPU')} and {several(self._placement.gpus, 'GPU')}"
        return (
            f"a worker was not ready after {self._start_timeout_s:g} s: {why} ({wants}): "
            "see `ray status` for what is free, or raise workers.start_timeout_s"
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
