"""The driver under a seeded simulator: whatever crashes, repeats, arrives late or gets lost, the dataset is complete and exclusive.

What is simulated is what surrounds the driver: workers that die at any point of a partition, receipts delivered twice or lost with their worker, zombies
that go on publishing after they were given up, stores that answer 409 or 503, torn files, listings that miss what was just written, and a driver that
is killed and started again on what the commit log and the listing show. What is real is embermill.jobs.driver.decisions.Driver.
"""

from __future__ import annotations

import os
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from embermill.jobs.device_tuning import DEVICE_TUNING
from embermill.jobs.driver.actions import Abort, Action, Commit, Finish, Start, Stop, Submit
from embermill.jobs.driver.decisions import Driver
from embermill.jobs.errors import Interrupted
from embermill.jobs.pool.base import Died
from embermill.jobs.receipt import Done, Event, Failed, Progress, Receipt, Task
from tests.jobs.fakes import partition, ready, receipt

SEEDS = int(os.environ.get("EMBERMILL_SIMULATION_SEEDS", "3000"))
Key = tuple[int, int]


@dataclass
class World:
    """The corpus, the store, and how badly things go. shards[number]: rows of each shard of that partition, (in, quarantined)."""

    rng: random.Random
    shards: dict[int, list[tuple[int, int]]]
    poison: set[int]  # partitions whose data are bad: final
    killers: set[int]  # partitions that take their worker along, every time
    trouble: float  # chance of each mishap at each step
    published: dict[Key, Receipt] = field(default_factory=dict)
    torn: set[Key] = field(default_factory=set)
    log: dict[Key, Receipt] = field(default_factory=dict)  # the commit log

    def chance(self, factor: float = 1.0) -> bool:
        return self.rng.random() < self.trouble * factor

    def publish(self, number: int, ordinal: int) -> Receipt:
        """Create-if-absent; OSError for a store in trouble, 409 that stands for nothing included."""
        if self.chance():
            raise OSError("503")
        key = (number, ordinal)
        if key in self.torn:
            raise OSError("a torn file stands there until the next run sets it aside")
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

    def adopt(self) -> None:
        """What a driver does when it starts: torn files aside, whole ones committed; a slow listing misses some."""
        self.torn.clear()
        for key, found in self.published.items():
            if key not in self.log and not self.chance():
                self.log[key] = found


class FakeWorker:
    """One partition after another, one step at a time; each step may be its last."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tasks: deque[Task] = deque()
        self.steps: Iterator[Event | None] = iter(())
        self.current: Task | None = None

    @property
    def busy(self) -> bool:
        return self.current is not None or bool(self.tasks)

    def step(self) -> list[Event | Died]:
        """The next thing it does. Raises ProcessLookupError where that kills it."""
        if self.current is None:
            if not self.tasks:
                return []
            self.current = self.tasks.popleft()
            self.steps = self._run(self.current)
        event = next(self.steps)
        if isinstance(event, Done | Failed):
            self.current = None
        if event is None:
            return []
        return [event, event] if self.world.chance() else [event]

    def _run(self, task: Task) -> Iterator[Event | None]:
        world, number = self.world, task.partition.number
        yield Progress(number, "read", 0, 0, 0.0)
        if number in world.poison:
            yield Failed(number, "bad_data", "poison", attempt=task.attempt)
            return
        if number in world.killers and world.rng.random() < 0.9:
            raise ProcessLookupError
        if number in world.killers:
            yield None
            raise ProcessLookupError
        for ordinal in range(len(world.shards[number])):
            if ordinal in task.skip:
                continue
            yield None
            try:
                made = world.publish(number, ordinal)
            except OSError as error:
                yield Failed(number, "storage", str(error), attempt=task.attempt)
                return
            if world.chance(0.5):
                raise ProcessLookupError  # published, and nobody was told
            yield None if world.chance(0.3) else made  # the receipt may be lost on the way
        yield Done(number, task.attempt)


class Simulation:
    """One driver's life: until it finishes, gives up, or is killed."""

    def __init__(self, world: World, lifetime: int) -> None:
        self.world, self.lifetime = world, lifetime
        world.adopt()
        partitions = [partition(number) for number in world.shards]
        self.workers: dict[int, FakeWorker] = {}
        self.zombies: list[FakeWorker] = []
        self.late: deque[tuple[int, Event | Died]] = deque()
        self.starting: list[int] = []
        self.started = 0
        self.waiting: list[Receipt] = []  # committed by the driver's word, not in the log yet
        self.outcome: Finish | Abort | None = None
        self.wanted = world.rng.randint(1, 4)
        self.queued = world.rng.choice([tuning.queued_per_worker for tuning in DEVICE_TUNING.values()])
        self.driver = Driver(partitions, list(world.log.values()), workers=self.wanted, queued=self.queued)

    def run(self) -> Finish | Abort | None:
        """None where the driver was killed."""
        self.do(self.driver.start())
        for _ in range(self.lifetime):
            if self.outcome is not None:
                self.flush()
                return self.outcome
            self.step()
            assert len(self.workers) + len(self.starting) <= self.wanted, "more workers than were asked for"
            assert self.outcome or self.starting or self.late or any(worker.busy for worker in self.workers.values()), "stuck: nobody has anything to do"
        for worker in self.workers.values():  # the driver is gone; its workers write on for a moment
            self.drain(worker)
        return None

    def step(self) -> None:
        rng, world = self.world.rng, self.world
        if self.starting and rng.random() < 0.5:
            self.start(self.starting.pop())
        if self.workers and rng.random() < 0.95:
            number = rng.choice(list(self.workers))
            try:
                for event in self.workers[number].step():
                    self.deliver(number, event)
            except ProcessLookupError:
                self.lose(number)
            if number in self.workers and world.chance(0.3):
                self.zombies.append(self.workers[number])  # given up by the pool, alive all the same
                self.lose(number)
        if self.zombies and rng.random() < 0.3:
            zombie = rng.choice(self.zombies)
            try:
                zombie.step()  # what it reports reaches nobody; what it publishes stands
            except ProcessLookupError:
                self.zombies.remove(zombie)
        if self.late and rng.random() < 0.5:
            self.hear(*self.late.popleft())
        if rng.random() < 0.2:
            self.flush()

    def start(self, number: int) -> None:
        if self.world.chance(0.5):
            self.hear(number, Died("it did not start"))
            return
        self.workers[number] = FakeWorker(self.world)
        self.hear(number, ready())

    def deliver(self, number: int, event: Event | Died) -> None:
        """In order for one worker; a copy may come much later."""
        self.hear(number, event)
        if self.world.chance(0.3):
            self.late.append((number, event))

    def lose(self, number: int) -> None:
        self.workers.pop(number, None)
        for _ in range(2 if self.world.chance() else 1):
            self.hear(number, Died("killed"))

    def drain(self, worker: FakeWorker) -> None:
        for _ in range(self.world.rng.randint(0, 4)):
            try:
                worker.step()
            except ProcessLookupError:
                return

    def hear(self, number: int, event: Event | Died) -> None:
        if self.outcome is None:
            self.do(self.driver.handle(number, event))

    def do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Start():
                    self.starting.append(self.started)
                    self.started += 1
                case Stop(number):
                    self.workers.pop(number, None)
                case Submit(number, task):
                    if number in self.workers:
                        assert len(self.workers[number].tasks) < self.queued, "no more than so many wait on one worker"
                        self.workers[number].tasks.append(task)
                case Commit(made):
                    self.waiting.append(made)
                case Finish() | Abort():
                    self.outcome = action

    def flush(self) -> None:
        """The commit log takes each shard once."""
        for made in self.waiting:
            key = (made.partition, made.ordinal)
            assert key not in self.world.log, f"{key} was committed twice"
            assert self.world.published[key] == made, f"{key}: the receipt is not of what stands there"
            self.world.log[key] = made
        self.waiting = []


def make_world(seed: int) -> World:
    rng = random.Random(seed)
    shards = {
        number: [(rows := rng.randint(0, 9), rng.randint(0, rows)) for _ in range(rng.choice((1, 1, 1, 2, 3)))] for number in range(rng.randint(0, 12))
    }
    bad = [number for number in shards if rng.random() < 0.1]
    cut = rng.randint(max(0, len(bad) - 1), len(bad))
    return World(rng, shards, set(bad[:cut]), set(bad[cut:]), trouble=rng.choice((0.0, 0.01, 0.05, 0.15)))


def live(world: World) -> Finish:
    """Drivers one after another until one finishes; every run of bad luck ends."""
    for life in range(200):
        if life > 20:
            world.trouble = 0.0
        lifetime = 100_000 if world.trouble == 0 else world.rng.choice((10, 60, 400, 3000))
        match Simulation(world, lifetime).run():
            case Finish() as finish if not any(failed.kind in ("storage", "defect") for failed in finish.failures):
                return finish
            case Abort(error):
                assert isinstance(error, Interrupted) or "no worker is left" in str(error)
    raise AssertionError("no driver ever finished")


def check(world: World, finish: Finish) -> None:
    given_up = {failed.partition: failed.kind for failed in finish.failures}
    if world.trouble == 0 or not given_up:
        assert set(given_up) <= world.poison | world.killers, "only what is at fault is named"
    for number, shards in world.shards.items():
        committed = {ordinal for (of, ordinal) in world.log if of == number}
        if number not in given_up:
            assert number not in world.poison | world.killers
            assert committed == set(range(len(shards))), f"partition {number} is not complete: {committed}"
    assert all(key in world.published for key in world.log), "nothing is committed that does not stand"
    for (number, ordinal), made in world.log.items():
        assert (made.rows_in, made.rows_quarantined) == world.shards[number][ordinal] and made.rows_in == made.rows_out + made.rows_quarantined


@pytest.mark.parametrize("block", range(10))
def test_complete_and_exclusive_whatever_happens(block: int) -> None:
    for seed in range(block * SEEDS // 10, (block + 1) * SEEDS // 10):
        world = make_world(seed)
        try:
            check(world, live(world))
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
