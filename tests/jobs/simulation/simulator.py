"""Runs over one dataset in a simulated world, and what must be true of them at every moment. A violation is an AssertionError; `trace` tells how it came."""

from __future__ import annotations

import contextlib
import random
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from embermill.jobs.dataset.metadata import commits, lease
from embermill.jobs.dataset.metadata.commits import COMMITS, CommitLog
from embermill.jobs.dataset.metadata.lease import Contender, Lease, Waiting
from embermill.jobs.dataset.metadata.receipt_table import to_receipts
from embermill.jobs.driver.actions import Abort, Action, Commit, Finish, Hold, Say, Start, Stop, Submit
from embermill.jobs.driver.commit_buffer import CommitBuffer
from embermill.jobs.driver.scheduler import Scheduler
from embermill.jobs.errors import AnotherRun, Interrupted, UsageError
from embermill.jobs.receipt import Failed, Progress, Receipt
from tests.jobs.fakes import partition
from tests.jobs.simulation.rows import IN_PLACE_OF_ARROW, Rows
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
        self.began_s, self.renewed_s, self.wakes_s = simulation.now_s, simulation.now_s, 0.0
        self.began_calm = simulation.calm  # what it met is then the workers' doing alone
        self.kinds = [kind for _, kind in simulation.world.places]
        self.rests = self.began_calm and not simulation.world.killers and "silent" not in self.kinds
        self.judges_broken = self.began_calm and "silent" not in self.kinds and self.kinds.count("broken") == 1 and "healthy" in self.kinds
        self.failures: tuple[Failed, ...] = ()
        self.lease: Lease | None = None
        self.pool = SimulatedPool(simulation.world)
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
        self.driver = Scheduler(partitions, list(log.receipts()), workers=sim.workers, queued=sim.queued, stall_s=STALL_S)
        self.committed: set[tuple[int, int]] = set(log.committed)
        self.finished: Finish | None = None
        began_s = sim.now_s
        self._do(commit_buffer, self.driver.start())
        next_renewal_s = self.clock_s
        while self.finished is None:
            clock_s = self.clock_s
            for worker, event in list(self.pool.events(clock_s)):
                if not isinstance(event, Progress):
                    sim.tell("{} hears of worker {}: {}", self.name, worker, event)
                self._do(commit_buffer, self.driver.handle(worker, event, clock_s))
            self._do(commit_buffer, self.driver.tick(clock_s))
            self._check(began_s)
            commit_buffer.flush_if_due(clock_s)
            if clock_s >= next_renewal_s:
                self._renew(held)
                next_renewal_s = clock_s + LEASE_S / lease.RENEWALS
            held.require_not_lost()
            yield
        commit_buffer.flush(self.clock_s)
        held.require_held()
        self.failures = self.finished.failures

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
            assert pool.late or pool.refused or any(worker.busy for worker in pool.workers.values()), "stuck: nobody has anything to do"
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


def check_log(simulation: Simulation) -> set[tuple[int, int]]:
    """Every commit that stands: each shard once, as it is published; tokens never go back. The keys that are committed."""
    seen: set[tuple[int, int]] = set()
    newest, files = 0, simulation.store.files
    for name in sorted(name for name in files if name.startswith(COMMITS)):
        token, made = decode_commit(files[name])
        assert token >= newest, f"{name} is of token {token}, after one of token {newest}"
        newest = token
        for one in made:
            key = (one.partition, one.ordinal)
            assert key not in seen, f"{key} is in two commits"
            assert simulation.world.published[key] == one, f"{key}: the receipt is not of what stands there"
            assert one.rows_in == one.rows_out + one.rows_quarantined
            seen.add(key)
    return seen


def receipts_of(table: pa.Table | Rows) -> list[Receipt]:
    return list(table.receipts if isinstance(table, Rows) else to_receipts(table))


_TABLES: dict[bytes, pa.Table] = {}


def encode_commit(table: pa.Table | Rows) -> bytes:
    """In place of Parquet, which takes most of the time of a simulation otherwise: the same table gives the same bytes."""
    token = int((table.schema.metadata or {}).get(commits.TOKEN, b"0"))
    data = repr([token, *((made.partition, made.ordinal, made.shard_sha256, made.rows_in) for made in receipts_of(table))]).encode()
    _TABLES[data] = table.replace_schema_metadata({commits.TOKEN: str(token)})
    return data


def decode_commit(data: bytes) -> tuple[int, list[Receipt]]:
    table = _TABLES[data]
    return int(table.schema.metadata[commits.TOKEN]), receipts_of(table)


class _Serial:
    """In place of a pool of threads: what happens follows from the seed alone."""

    def __init__(self, threads: int) -> None:
        self.map = map

    def __enter__(self) -> _Serial:
        return self

    def __exit__(self, *error: object) -> None:
        pass


@contextlib.contextmanager
def surroundings(simulation: Simulation, runs: Mapping[str, Run], current: list[Run], *, arrow: bool) -> Iterator[None]:
    """What the modules ask the machine for: which process this is and whether another one runs; Parquet; threads."""

    def gone(process: Mapping[str, object]) -> bool:
        other = runs.get(str(process.get("pid")))
        return other is not None and other.host == current[0].host and not other.alive

    def running(process: Mapping[str, object]) -> bool:
        other = runs.get(str(process.get("pid")))
        return other is not None and other.host == current[0].host and other.alive

    def read(log: CommitLog, name: str) -> pa.Table | Rows:
        return _TABLES[log.folder.read(name)]

    _TABLES.clear()
    replacements: tuple[tuple[object, str, object], ...] = (
        (lease, "this_process", lambda: {"pid": current[0].name, "host": current[0].host}),
        (lease, "is_gone", gone),
        (lease, "is_running", running),
        (commits, "sealed_parquet", encode_commit),
        (commits, "ThreadPoolExecutor", _Serial),
        (CommitLog, "_read", read),
        *((commits, name, value) for name, value in IN_PLACE_OF_ARROW.items() if not arrow),
    )
    before = [(place, name, getattr(place, name)) for place, name, _ in replacements]
    try:
        for place, name, value in replacements:  # mock.patch takes a twentieth of the time of a simulation
            setattr(place, name, value)
        yield
    finally:
        for place, name, value in before:
            setattr(place, name, value)


def make(seed: int, left_out: frozenset[int] = frozenset()) -> Simulation:
    """The world of that seed. left_out: faults that do not happen in it."""
    rng = random.Random(seed)
    faults = Faults(rng, left_out)
    number = rng.choice((0, 1, 1, 2, 2, 3, 3, 4, 5, 8, 12))
    shards = {n: [(rows := rng.randint(0, 9), rng.randint(0, rows)) for _ in range(rng.choice((1, 1, 1, 2, 3)))] for n in range(number)}
    bad = [n for n in shards if rng.random() < 0.08]
    killers = set(bad[:1]) if rng.random() < 0.5 else set()
    trouble = rng.choice((0.0, 0.0, 0.02, 0.1))
    nodes = rng.randint(1, 3)
    kinds = rng.choices(("healthy", "healthy", "healthy", "broken", "silent", "slow"), k=rng.randint(1, 5))
    places = [(f"node-{rng.randrange(nodes)}", kind) for kind in kinds]
    if rng.random() < 0.15:
        places += [("node-dead", "dead")] * rng.randint(1, 2)
    if not any(kind == "healthy" for _, kind in places):
        places.append(("node-0", "healthy"))
    rng.shuffle(places)
    world = World(rng, faults, shards, set(bad) - killers, killers, places, trouble)
    return Simulation(seed, Store(rng, faults, rng.choice((0.0, 0.0, 0.03, 0.1))), world, min(len(places), rng.randint(1, 5)), rng.choice((1, 2, 4)))


def simulate(simulation: Simulation, *, arrow: bool = False) -> None:
    """Runs one after another, and beside one another, until the dataset is finished; all bad luck ends at some time. arrow: with Arrow's tables."""
    sim, rng, world, faults = simulation, simulation.world.rng, simulation.world, simulation.faults
    runs: dict[str, Run] = {}
    current: list[Run] = []
    with surroundings(sim, runs, current, arrow=arrow):
        calm, alive = sim.calm, list[Run]()
        for turn in range(40_000):
            if not calm and (turn >= 3000 or len(runs) > 12):
                world.trouble = sim.store.trouble = 0.0
                calm = True
            if not alive or (len(alive) < 2 and not calm and faults.strikes(0.03, "one more run")):
                run = runs[f"run-{len(runs)}"] = Run(sim, f"run-{len(runs)}", rng.choice(("here", "there")))
                alive.append(run)
            awake = [run for run in alive if run.wakes_s <= sim.now_s]
            sim.now_s += 0.1 + rng.random() * 0.4
            sim.store.settle()
            if not awake:
                continue
            run = rng.choice(awake)
            current[:] = [run]
            if not calm and faults.strikes(0.004, "SIGKILL"):
                run.kill()
            elif not calm and faults.strikes(0.01, "SIGSTOP"):
                run.wakes_s = sim.now_s + rng.choice((5.0, 30.0, 100.0))  # SIGSTOP, and SIGCONT later
                sim.tell("{} is stopped until {}", run.name, f"{run.wakes_s:.1f}")
            elif not calm and faults.strikes(0.003, "clock"):
                run.jump_s += rng.choice((5.0, 30.0))
            else:
                newest, before = max(sim.driving, default=0), len(sim.store.created)
                run.step()
                if len(sim.store.created) > before:
                    _check_fence(run, sim.store.created[before:], newest)
            if run.alive:
                continue
            alive.remove(run)
            assert "exit" not in run.outcome or not run.rests, f"nothing is wrong but some workers, and a run ends: {run.outcome}"
            if run.outcome == "finished" and _is_done(sim, run):
                return
            if run.outcome.startswith("exit 2"):
                _check_given_up_for_good(sim, run)
                return
        raise AssertionError("no run ever finished")

def _check_fence(run: Run, created: list[str], newest: int) -> None:
    """Once a run drives that took over, nobody who held the lease before it commits. newest: token that drove before this step."""
    if run.lease is not None and any(name.startswith(COMMITS) for name in created):
        assert newest <= run.lease.token, f"{run.name} commits with token {run.lease.token} while token {newest} drives"


def _is_done(sim: Simulation, run: Run) -> bool:
    """Whether that was the end; all that must be true then."""
    committed, world = check_log(sim), sim.world
    given_up = {failed.partition: failed.kind for failed in run.failures}
    if any(kind in ("storage", "defect") for kind in given_up.values()):
        return False
    kinds = run.kinds
    sound = kinds.count("healthy") + kinds.count("slow")
    if run.began_calm and sim.workers > 1 and sound > 1 and kinds.count("broken") < 2 and not kinds.count("silent"):
        assert set(given_up) <= world.poison | world.killers, f"{sorted(given_up)} given up, though nothing is wrong with some of them"
    for number, shards in world.shards.items():
        if number not in given_up:
            assert {ordinal for of, ordinal in committed if of == number} == set(range(len(shards))), f"partition {number} is not complete"
    return True


def _check_given_up_for_good(sim: Simulation, run: Run) -> None:
    """Exit 2: no worker is left, and this run has committed nothing."""
    assert "no worker is left" in run.outcome, run.outcome
    check_log(sim)
