"""Runs over one dataset in a simulated world, and what must be true of each at every moment. A violation is an AssertionError; `trace` tells how it came."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

from embermill.jobs.dataset.metadata import lease
from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.lease import Contender, Lease, Waiting
from embermill.jobs.driver.actions import Abort, Action, Commit, Finish, Hold, Say, Start, Stop, Submit
from embermill.jobs.driver.commit_buffer import CommitBuffer
from embermill.jobs.driver.scheduler import Scheduler
from embermill.jobs.errors import AnotherRun, Interrupted, UsageError
from embermill.jobs.receipt import Failed, Progress
from tests.jobs.fakes import partition
from tests.jobs.simulation.moving import FOLLOW_S, Moves, MovingPool
from tests.jobs.simulation.store import Faults, MemoryFolder, Store
from tests.jobs.simulation.workers import SimulatedPool, World

LEASE_S = 20.0
STALL_S = 60.0  # longer than a step of a slow worker
LONGEST_S = 4000.0  # of one life of a run in which nothing goes wrong but for workers that are broken, silent, slow or dead


@dataclass
class Simulation:
    """All that happens from an empty dataset to a finished one."""

    seed: int
    store: Store
    world: World
    workers: int
    queued: int
    moves: Moves | None = None  # of nodes, where they come and go
    leaps: bool = True  # over the time in which nothing is due; without, as the first seeds that failed were found
    now_s: float = 0.0
    driving: dict[int, Run] = field(default_factory=dict)  # token -> the run that drives with it, fence included
    told: deque[tuple[float, str, tuple[object, ...]]] = field(default_factory=lambda: deque(maxlen=200))

    def __post_init__(self) -> None:
        self.faults.tell = self.tell

    @property
    def faults(self) -> Faults:
        return self.store.faults

    @property
    def calm(self) -> bool:
        return not (self.world.trouble or self.store.trouble)

    def tell(self, words: str, *about: object) -> None:
        """Put into words when somebody asks for the trace."""
        self.told.append((self.now_s, words, about))

    @property
    def trace(self) -> list[str]:
        return [f"{now_s:8.1f} {words.format(*(str(one)[:120] for one in about))}" for now_s, words, about in self.told]


class Run:
    """One `embermill run`: lease, commit log, driver and commit buffer as they are shipped, in steps that others come between."""

    def __init__(self, simulation: Simulation, name: str, host: str) -> None:
        self.simulation, self.name, self.host = simulation, name, host
        self.folder = MemoryFolder(simulation.store)
        self.jump_s = 0.0
        self.alive, self.outcome = True, ""
        self.began_s, self.renewed_s, self.wakes_s, self.stopped_until_s = simulation.now_s, simulation.now_s, 0.0, 0.0
        self.began_calm = simulation.calm  # what it met is then the workers' doing alone
        self.kinds = [kind for _, kind in simulation.world.places]
        still = simulation.moves is None
        self.rests = self.began_calm and (still or "dead" not in self.kinds) and not simulation.world.killers and "silent" not in self.kinds
        self.judges_broken = still and self.began_calm and "silent" not in self.kinds and self.kinds.count("broken") == 1 and "healthy" in self.kinds
        self.failures: tuple[Failed, ...] = ()
        self.lease: Lease | None = None
        self.pool = SimulatedPool(simulation.world) if simulation.moves is None else MovingPool(simulation.world, simulation.moves)
        self.steps = self._live()

    @property
    def clock_s(self) -> float:
        """Its own, which may run ahead."""
        return self.simulation.now_s + self.jump_s

    def step(self) -> None:
        try:
            next(self.steps)
        except StopIteration:
            self._end("finished")
        except AnotherRun:
            self._end("another run")
        except UsageError as error:
            self._end(f"exit 2: {error}")
        except Interrupted as error:
            self._end(f"exit 33: {error}")

    def kill(self) -> None:
        self.alive, self.outcome = False, "killed"
        self.simulation.tell("{} is killed", self.name)
        self.steps.close()

    def _end(self, outcome: str) -> None:
        self.alive, self.outcome = False, outcome
        self.simulation.tell("{} ends: {}", self.name, outcome)
        if self.lease is not None:
            self.lease.release()

    def _live(self) -> Generator[None, None, None]:
        contender = Contender(self.folder, LEASE_S, "run")
        while isinstance(found := contender.attempt(self.clock_s), Waiting):
            self.wakes_s = self.simulation.now_s + min(1.0, found.left_s)
            yield
        self.lease = found
        self._took(found)
        yield
        log = CommitLog(self.folder, found.token)
        yield
        found.fence(log)
        self.simulation.driving[found.token] = self
        self.simulation.world.torn.clear()
        adopted = [made for key, made in self.simulation.world.published.items() if key not in log.committed and not self.simulation.store.mishap()]
        log.append(adopted)
        yield
        yield from self._drive(found, log)

    def _took(self, taken: Lease) -> None:
        """Whoever held the lease before was through, or dead, or silent for so long as a lease lasts."""
        self.simulation.tell("{} holds token {}{}", self.name, taken.token, " (took over)" if taken.took_over else "")
        before = self.simulation.driving.get(taken.token - 1)
        if before is not None and taken.took_over and before.alive:
            silent_s = self.simulation.now_s - before.renewed_s
            assert before.host != self.host, "a run that lives on this host was taken over"
            assert silent_s + self.jump_s >= LEASE_S - 1e-6, f"a run that renewed {silent_s:.1f} s ago was taken over"

    def _drive(self, held: Lease, log: CommitLog) -> Iterator[None]:
        sim = self.simulation
        commit_buffer = CommitBuffer(log)
        partitions = [partition(number) for number in sim.world.shards]
        self.driver = Scheduler(partitions, log.shards(), workers=sim.workers, queued=sim.queued, stall_s=STALL_S, most=sim.workers)
        self.committed: set[tuple[int, int]] = set(log.committed)
        self.finished: Finish | None = None
        began_s = sim.now_s
        self._do(commit_buffer, self.driver.start())
        self.next_renewal_s, self.follows_s = self.clock_s, self.clock_s + FOLLOW_S
        while self.finished is None:
            clock_s = self.clock_s
            for worker, event in list(self.pool.events(clock_s)):
                if not isinstance(event, Progress):
                    sim.tell("{} hears of worker {}: {}", self.name, worker, event)
                self._do(commit_buffer, self.driver.handle(worker, event, clock_s))
            self._do(commit_buffer, self.driver.tick(clock_s))
            if isinstance(self.pool, MovingPool) and clock_s >= self.follows_s:
                self.follows_s = clock_s + FOLLOW_S
                self._do(commit_buffer, self.driver.follow(self.pool.room(), clock_s))
            self._check(began_s)
            commit_buffer.flush_if_due(clock_s)
            if clock_s >= self.next_renewal_s:
                self._renew(held)
                self.next_renewal_s = clock_s + LEASE_S / lease.RENEWALS
            held.require_not_lost()
            if sim.leaps:
                self.wakes_s = self._due_s(commit_buffer) - self.jump_s
            yield
        commit_buffer.flush(self.clock_s)
        held.require_held()
        self.failures = self.finished.failures

    def _due_s(self, commit_buffer: CommitBuffer) -> float:
        """When a worker moves, work has stood still for too long, or a commit or a renewal is due, on its own clock."""
        stalls_s = min([seat.moved_s for seat in self.driver._staff.seats.values() if seat.queue], default=math.inf) + STALL_S
        follows_s = math.inf if self.simulation.moves is None else self.follows_s
        return min(self.pool.due_s, stalls_s, commit_buffer.due_s, self.next_renewal_s, follows_s)

    def _renew(self, held: Lease) -> None:
        """A renewal that did not reach the store is no sign of life."""
        name, files = f"{lease.LEASE}/{held.token:09d}.renewed.json", self.simulation.store.files
        before = files.get(name)
        held.renew()
        if files.get(name) != before:
            self.renewed_s = self.simulation.now_s

    def _check(self, began_s: float) -> None:
        sim, pool = self.simulation, self.pool
        assert len(pool.workers.keys() - pool.held) <= sim.workers, "more workers than were asked for"
        if self.finished is None:
            waits = isinstance(pool, MovingPool) and pool.waiting
            assert pool.late or pool.refused or waits or any([worker.busy for worker in pool.workers.values()]), "stuck: nobody has anything to do"
            assert not self.began_calm or sim.now_s - began_s < LONGEST_S, "the job does not end"
        for worker in pool.workers.values() if self.judges_broken else ():
            if worker.kind == "broken":
                limit = 3 + sim.queued + len(sim.world.poison) + len(sim.world.killers)
                assert worker.failed <= limit or sim.workers == 1 or not self._others(worker), "a broken worker gets one partition after another"

    def _others(self, broken: object) -> bool:
        return any(worker is not broken and worker.ready and worker.kind in ("healthy", "slow") for worker in self.pool.workers.values())

    def _do(self, commit_buffer: CommitBuffer, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Start(avoid):
                    self.pool.start_worker(avoid)
                    assert self.pool.started <= (self.simulation.workers + 9 if self.rests else 4000), "workers are replaced for ever"
                case Stop(worker):
                    self.pool.stop_worker(worker)
                case Hold(worker):
                    self.pool.hold(worker)
                case Submit(worker, task):
                    if (to := self.pool.workers.get(worker)) is not None:
                        assert all(task.partition.number != other.partition.number for other in to.tasks), "a worker has a partition twice"
                        assert len(to.tasks) < self.simulation.queued, "no more than so many wait on one worker"
                        to.tasks.append(task)
                case Commit(made):
                    key = (made.partition, made.ordinal)
                    assert key not in self.committed, f"{key} is committed twice by one driver"
                    self.committed.add(key)
                    commit_buffer.commit(made)
                case Say(message):
                    self.simulation.tell("{} says: {}", self.name, message)
                case Finish():
                    self.finished = action
                case Abort(error):
                    raise error
