"""Workers of a simulated pool: what they do takes time, and each step may be their last."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from embermill.jobs.pool.base import Died
from embermill.jobs.receipt import Alive, Done, Event, Failed, Progress, Receipt, Task
from tests.jobs.fakes import ready, receipt
from tests.jobs.simulation.store import Faults

Key = tuple[int, int]
STEP_S = 0.5


@dataclass
class World:
    """The corpus, and how badly things go. shards[number]: rows of each shard of that partition, (in, quarantined).

    poison: partitions whose data are bad. killers: partitions that take their worker along. places: (node, kind) of each place that a worker can have,
    where kind is healthy, broken (fails on everything), silent (stops in mid-work), slow (ten times) or dead (its workers die when they start).
    """

    rng: random.Random
    faults: Faults
    shards: dict[int, list[tuple[int, int]]]
    poison: set[int]
    killers: set[int]
    places: list[tuple[str, str]]
    trouble: float
    published: dict[Key, Receipt] = field(default_factory=dict)
    torn: set[Key] = field(default_factory=set)

    def chance(self, factor: float = 1.0) -> bool:
        return self.trouble > 0.0 and self.faults.strikes(self.trouble * factor, "a worker, its storage or its messages")

    def publish(self, number: int, ordinal: int) -> Receipt:
        """Create-if-absent; OSError for a store in trouble, a 409 that stands for nothing included."""
        key = (number, ordinal)
        if self.chance() or key in self.torn:
            raise OSError("503, or a torn file is there until the next run sets it aside")
        if key not in self.published:
            if self.chance(0.3):
                self.torn.add(key)
                raise OSError("torn")
            rows_in, refused = self.shards[number][ordinal]
            last = ordinal == len(self.shards[number]) - 1
            self.published[key] = receipt(number, ordinal, last=last, rows_in=rows_in, rows_quarantined=refused)
            if self.chance():
                raise OSError("409, though it was written")
        return self.published[key]


class Worker:
    """One partition after another, one step at a time."""

    def __init__(self, world: World, place: int, now_s: float) -> None:
        self.world, self.place = world, place
        self.node, self.kind = world.places[place]
        self.tasks: deque[Task] = deque()
        self.steps: Iterator[Event | None] | None = None
        self.ready = False
        self.failed = 0
        self.next_s = now_s + 1.0 + world.rng.random()

    @property
    def busy(self) -> bool:
        return not self.ready or self.steps is not None or bool(self.tasks)

    @property
    def due_s(self) -> float:
        """When it takes its next step, if it has any to take."""
        if self.steps is not None:
            return math.inf if self.kind == "silent" else self.next_s
        return self.next_s if self.tasks or not self.ready else math.inf

    def step(self, now_s: float) -> list[Event | Died]:
        """The next thing it does, now that its time has come. ProcessLookupError where that kills it."""
        self.next_s = now_s + STEP_S * (10 if self.kind == "slow" else 1) * (0.1 if self.kind == "broken" else 1)
        if not self.ready:
            if self.kind == "dead" or self.world.chance(0.3):
                raise ProcessLookupError
            self.ready = True
            return [ready(node=self.node, host=self.node, device_uuid=f"GPU-{self.place}")]
        if self.kind == "silent" and self.steps is not None:
            return []
        if self.steps is None:
            if not self.tasks:
                return [Alive()] if self.world.rng.random() < 0.1 else []
            self.steps = self._run(self.tasks.popleft())
        event = next(self.steps)
        if isinstance(event, Done | Failed):
            self.steps = None
        return [] if event is None else [event, event] if self.world.chance() else [event]

    def _run(self, task: Task) -> Iterator[Event | None]:
        world, number = self.world, task.partition.number
        yield Progress(number, "read", 0, 0, 0.0)
        if self.kind == "broken":
            self.failed += 1
            yield Failed(number, "engine", "nan", attempt=task.attempt)
            return
        if number in world.poison:
            yield Failed(number, "bad_data", "poison", attempt=task.attempt)
            return
        if number in world.killers:
            raise ProcessLookupError
        for ordinal in range(len(world.shards[number])):
            if ordinal in task.skip:
                continue
            yield Progress(number, "encode", 1, 1, 0.0)
            try:
                made = world.publish(number, ordinal)
            except OSError as error:
                yield Failed(number, "storage", str(error), attempt=task.attempt)
                return
            if world.chance(0.3):
                raise ProcessLookupError  # published, and nobody was told
            yield None if world.chance(0.3) else made  # the receipt may be lost on the way
        yield Done(number, task.attempt)


class SimulatedPool:
    """Places for workers on nodes. Gives out events; some come again later; a worker that was stopped may live on as a zombie."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.workers: dict[int, Worker] = {}
        self.zombies: list[Worker] = []
        self.late: deque[tuple[int, Event | Died]] = deque()
        self.refused: list[int] = []
        self.held: set[int] = set()
        self.started = 0
        self.now_s = 0.0

    def start_worker(self, avoid: Collection[str] = ()) -> int:
        number, self.started = self.started, self.started + 1
        taken = [worker.place for worker in self.workers.values()]
        free = [place for place, (node, _) in enumerate(self.world.places) if place not in taken and node not in avoid]
        if not free:
            self.refused.append(number)
            return number
        self.workers[number] = Worker(self.world, self.world.rng.choice(free), self.now_s)
        return number

    @property
    def due_s(self) -> float:
        """When there is something to hear, or a zombie moves."""
        if self.late or self.refused:
            return self.now_s
        return min((worker.due_s for worker in (*self.workers.values(), *self.zombies)), default=math.inf)

    def events(self, now_s: float) -> Iterator[tuple[int, Event | Died]]:
        world, self.now_s = self.world, now_s
        while self.refused:
            yield self.refused.pop(), Died("no other node has room", "usage")
        for number, worker in list(self.workers.items()):
            if now_s >= worker.next_s:
                try:
                    for event in worker.step(now_s):
                        yield number, event
                        if world.chance(0.3):
                            self.late.append((number, event))
                except ProcessLookupError:
                    yield from self._lose(number, lives_on=False)
            if world.trouble and number in self.workers and world.chance(0.1):
                yield from self._lose(number, lives_on=True)  # given up by the pool, alive all the same
        for zombie in list(self.zombies):
            try:
                if now_s >= zombie.next_s:
                    zombie.step(now_s)  # what it reports reaches nobody; what it publishes stands
            except ProcessLookupError:
                self.zombies.remove(zombie)
        if self.late and world.rng.random() < 0.3:
            yield self.late.popleft()

    def _lose(self, number: int, *, lives_on: bool) -> Iterator[tuple[int, Event | Died]]:
        worker = self.workers.pop(number)
        if lives_on:
            self.zombies.append(worker)
        for _ in range(2 if self.world.chance() else 1):
            yield number, Died("killed by signal 9", "lost", worker.node, worker.node)

    def stop_worker(self, number: int) -> None:
        if (worker := self.workers.pop(number, None)) is not None and self.world.rng.random() < 0.5:
            self.zombies.append(worker)

    def hold(self, number: int) -> None:
        """It keeps its place; whatever it is given from now on would be too much."""
        self.held.add(number)
