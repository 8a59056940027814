"""The driver's decisions: events in, actions out. No clock, no I/O, no Ray: what it decides follows from what it was told alone, the time included.

Every event may be repeated, late, or come from a worker that was given up: a receipt stands for a shard that is published and checked, so the first one
counts, whoever sends it. What is told apart:

    data at fault       a failure that happened on two workers, where there are two               the partition is given up, and named
    a worker at fault   it only fails, and others finish what it failed on                        it is retired, and named; no other takes its place or its GPU
    a node at fault     its workers die the same way, three times, before any receipt             it gets no more workers, and is named
    a silent worker     no partition of its moves on for `stall_s`                                its partitions are taken back, and it is replaced
    a slow one          others are idle                                                           they repeat what it has, and the first to finish wins
A partition on a worker that died is run again alone, so that one that kills its worker is told from those that were beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import replace

from embermill.counts import several
from embermill.jobs.driver.actions import Abort, Action, Commit, Finish, Hold, Say, Start, Stop
from embermill.jobs.driver.assignment import Assignment
from embermill.jobs.driver.staff import Staff, describe_worker
from embermill.jobs.driver.workload import DIED, MAX_ATTEMPTS, STOOD_STILL, Work, Workload
from embermill.jobs.errors import Interrupted, JobError, UsageError
from embermill.jobs.partition import Partition, describe_partition
from embermill.jobs.pool.base import Died
from embermill.jobs.pool.nodes import NODES_FAULT, SAME_DEATHS, Nodes
from embermill.jobs.process.device_tuning import DEVICE_TUNING
from embermill.jobs.receipt import EMBED, Alive, Done, Event, Failed, Measured, Progress, Ready, Receipt, Shard


class Scheduler:
    """partitions: the plan's, in order. committed: what is in the commit log already. kind: of all tasks, one of receipt.KINDS.

    workers: how many to keep, `starting` of which are on their way. queued: partitions that a worker has at a time, at most.
    stall_s: for so long a worker may have work that does not move on. refuse: why a worker that is ready must not work, or None.
    when_still: what to do about a partition that workers make no progress with, in words. when_lost: about workers that are lost at their work.
    nodes: what is known of them from workers that died before. most: workers, however many nodes come.
    """

    def __init__(
        self,
        partitions: Sequence[Partition],
        committed: Iterable[Shard | Receipt],
        *,
        workers: int,
        starting: int = 0,
        queued: int = DEVICE_TUNING["cpu"].queued_per_worker,
        stall_s: float = math.inf,
        when_still: str = "",
        when_lost: str = "",
        refuse: Callable[[Ready], str | None] = lambda ready: None,
        nodes: Nodes | None = None,
        kind: str = EMBED,
        most: float = math.inf,
    ) -> None:
        assert workers > 0 and queued > 0 and stall_s > 0
        self._load = Workload(partitions, committed)
        self._staff, self._nodes = Staff(workers, starting), nodes or Nodes()
        self._assignment = Assignment(self._load, self._staff, queued, kind)
        self._queued, self._stall_s, self._refuse, self._most = queued, stall_s, refuse, most
        self._when_still, self._when_lost = when_still, when_lost
        self._storage_failures = 0  # attempts that failed in the storage one after another, with no shard in between
        self._idle_deaths = 0  # workers lost one after another that had nothing to do, with no shard in between
        self._known: Set[str] = frozenset()  # nodes with room, as of the last look
        self._received = False  # whether this run has published anything
        self._now_s = 0.0
        self._finished = False

    @property
    def remaining(self) -> Collection[int]:
        """Numbers of the partitions that are neither complete nor given up."""
        return self._load

    @property
    def assigned(self) -> int:
        """How many of these are queued on workers."""
        return len({number for seat in self._staff.seats.values() for number in seat.queue if number in self._load})

    @property
    def queued_on_workers(self) -> int:
        """Partitions in the queues of all workers; one that two of them have counts twice."""
        return sum(len(seat.queue) for seat in self._staff.seats.values())

    @property
    def lacking(self) -> int:
        """Workers beside those at work and on their way that would have something to do, as of the last look: nobody has those partitions."""
        unassigned = len(self._load) - self.assigned - self._staff.starting
        return max(0, int(min(self._staff.bound - len(self._staff), unassigned)))

    def start(self) -> list[Action]:
        """The first actions: as many workers as are wanted and useful; Finish at once where nothing is to be done."""
        return self._replacements() if self._load else self._finish()

    def handle(self, worker: int, event: Event | Died, now_s: float = 0.0) -> list[Action]:
        """What to do about one event of one worker. now_s: of a clock that never goes back."""
        self._now_s = max(self._now_s, now_s)
        if self._finished:
            return []
        match event:
            case Ready():
                return self._ready(worker, event)
            case Receipt():
                return self._receipt(worker, event)
            case Done():
                return self._done(worker, event)
            case Failed():
                return self._failed(worker, event)
            case Died():
                return self._died(worker, event)
            case Progress():
                if (seat := self._staff.seats.get(worker)) is not None and event.partition in seat.queue:
                    seat.moved_s = self._now_s
                return []
            case Alive() | Measured():
                return []

    def tick(self, now_s: float) -> list[Action]:
        """What the time alone calls for, about twice a second: workers that stalled, and idle ones that may repeat what is slow."""
        self._now_s = max(self._now_s, now_s)
        stalled = [worker for worker, seat in self._staff.seats.items() if seat.queue and self._now_s - seat.moved_s >= self._stall_s]
        actions = list[Action]()
        for worker in stalled:
            if not self._finished:
                seat = self._staff.seats[worker]
                words = f"{seat.describe()} made no progress for {self._stall_s:g} s (workers.partition_stall_s) and is replaced"
                actions += [Stop(worker), Say(words), *self._died(worker, Died(words, "stalled", seat.ready.host, seat.ready.node))]
        return actions if self._finished else actions + self._replacements() + self._next()

    def follow(self, room: Mapping[str, int], now_s: float) -> list[Action]:
        """Nodes have come or gone. room: node -> workers of ours that it has room for, busy ones included. More are started; none is ended for it."""
        self._now_s = max(self._now_s, now_s)
        if self._finished:
            return []
        if room.keys() != self._known:
            self._known, self._idle_deaths = frozenset(room), 0  # workers with nothing to do went with their nodes
        self._staff.follow(room, self._nodes.barred, self._most)
        return self._replacements() + self._next()

    # -- what workers say

    def _ready(self, worker: int, ready: Ready) -> list[Action]:
        if worker in self._staff.seats or self._staff.is_gone(worker):
            return []
        if self._staff.is_on_broken_gpu(ready):
            return self._hold(worker, ready)
        if reason := self._refuse(ready):
            return [Stop(worker), *self._died(worker, Died(reason, "usage", ready.host, ready.node))]
        self._staff.seat(worker, ready, self._now_s)
        return self._next()

    def _hold(self, worker: int, ready: Ready) -> list[Action]:
        """It was put where another one was retired. It stays there without work: the next one would be put there, too, if it ended."""
        self._staff.remove(worker)
        words = f"{describe_worker(ready)} is on the GPU of a worker that was retired: it is given no work, and another one is started elsewhere"
        return [Hold(worker), Say(words), *self._continue_unless_over(words)]

    def _receipt(self, worker: int, receipt: Receipt) -> list[Action]:
        self._idle_deaths = self._storage_failures = 0
        self._received = True
        self._staff.refused_by.pop(worker, None)
        if (seat := self._staff.seats.get(worker)) is not None:
            seat.succeeded()
            seat.moved_s = self._now_s
            self._nodes.succeeded(seat.ready.node)
        if not self._load.note(receipt):
            return []
        actions: list[Action] = [Commit(receipt)]
        if receipt.partition not in self._load:
            actions += self._completed(worker, receipt.partition)
        return actions if self._load or self._finished else actions + self._finish()

    def _completed(self, by: int, number: int) -> list[Action]:
        """A partition is done: whoever failed on it before was at fault, if that goes on."""
        actions = list[Action]()
        for worker, seat in list(self._staff.seats.items()):
            if worker != by and number in seat.failed:
                seat.failed.discard(number)
                seat.contradicted.add(number)
                actions += self._retire_if_broken(worker)
        return actions

    def _retire_if_broken(self, worker: int) -> list[Action]:
        if not self._staff.seats[worker].broken or len(self._staff) < 2:
            return []
        seat = self._staff.retire(worker)
        self._load.acquit(worker, self._assignment.verdict)
        for number in seat.queue:
            if (work := self._load.open(number)) is not None:
                work.holders.discard(worker)
                self._load.requeue(work, first=True)
        words = f"{seat.describe()} failed on {several(len(seat.contradicted), 'partition')} that others finished, and on everything else since: it is retired"
        return [Stop(worker), Say(words), *self._continue_unless_over(words)]

    def _done(self, worker: int, done: Done) -> list[Action]:
        """A worker is through with a partition. Where a shard is missing all the same, its receipt was lost on the way: the next attempt adopts it."""
        number = done.partition
        if not self._assignment.release(worker, number, done.attempt, self._now_s, done=True):
            return []
        if work := self._load.open(number):
            words = f"{describe_partition(work.partition)}: its worker was through with it and shards are missing"
            self._again(work, worker, Failed(number, "defect", words))
        return self._next()

    def _failed(self, worker: int, failed: Failed) -> list[Action]:
        if not self._assignment.release(worker, failed.partition, failed.attempt, self._now_s, done=False):
            return []
        if failed.kind == "usage":
            self._staff.refused_by[worker] = failed
            if len(self._staff.refused_by) >= min(2, len(self._staff.seats)):  # no worker and no partition would end otherwise
                return self._abort(UsageError(failed.message))
        self._storage_failures = self._storage_failures + 1 if failed.kind == "storage" else 0
        if self._storage_failures >= MAX_ATTEMPTS * self._queued * max(1, len(self._staff.seats)):
            many = f"{self._storage_failures} attempts failed one after another and no shard came between them: the storage, not the data"
            return self._abort(Interrupted(f"{many}; the last one: {failed.message}"))
        if work := self._load.open(failed.partition):
            self._again(work, worker, failed)
            if failed.kind != "storage" and failed.partition in self._load:
                self._staff.seats[worker].failed.add(failed.partition)
        elif failed.kind != "storage" and failed.partition not in self._load.given_up:  # another worker has finished it meanwhile
            self._staff.seats[worker].contradicted.add(failed.partition)
            return self._retire_if_broken(worker) or self._next()
        return self._next()

    def _died(self, worker: int, died: Died) -> list[Action]:
        if self._staff.is_gone(worker):
            return []
        if (seat := self._staff.remove(worker)) is not None:
            died = replace(died, host=died.host or seat.ready.host, node=died.node or seat.ready.node)
        queue = seat.queue if seat else {}
        if seat is None and died.kind == "usage":
            self._staff.give_up_place(died.node)  # another one would refuse too; those that work continue
        for place, number in enumerate(queue):
            self._orphaned(worker, number, died, suspect=place == 0 or died.kind != "stalled")
        said, barred = list[Action](), None
        if died.kind in NODES_FAULT:
            known = died.node in self._nodes.barred
            barred = self._nodes.died(died, frozenset(queue))
            said = [Say(f"{barred}: this node gets no more workers")] if barred and not known else []
            if said:
                self._idle_deaths = 0  # they were the node's fault, and it gets no more workers
        if not queue and not barred and died.kind != "usage":
            self._idle_deaths += 1
            if self._idle_deaths >= SAME_DEATHS * max(1, self._staff.wanted):
                return self._abort(Interrupted(f"{self._idle_deaths} workers were lost one after another with nothing to do; the last one: {died.error}"))
        return said + self._continue_unless_over(died.error)

    def _continue_unless_over(self, words: str) -> list[Action]:
        """Where no worker is left, and none is to come, the job is over: words say why, unless a node does."""
        if not self._load:
            return self._finish()
        if self._staff.wanted > 0 or len(self._staff):
            return self._replacements() + self._next()
        words = next(iter(self._nodes.barred.values()), words)
        if self._received:
            return self._abort(Interrupted(f"no worker is left: {words}. What is committed stays; run again to resume"))
        return self._abort(UsageError(f"no worker is left: {words}{self._when_lost}"))

    # -- what follows for partitions

    def _again(self, work: Work, worker: int, failed: Failed) -> None:
        """Another attempt, if it may help and none is under way."""
        work.failures.append((worker, failed))
        if (verdict := self._assignment.verdict(work)) is not None:
            self._give_up(work, verdict)
        elif not work.holders:
            self._load.requeue(work, first=failed.kind != "storage" and self._assignment.others(work))

    def _orphaned(self, worker: int, number: int, died: Died, *, suspect: bool) -> None:
        """A partition whose worker died or stalled: it may be the cause."""
        work = self._load.open(number)
        if work is None:
            return
        work.holders.discard(worker)
        if suspect:
            how = STOOD_STILL if died.kind == "stalled" else DIED
            work.failures.append((worker, Failed(number, how, f"{describe_partition(work.partition)}: {self._ended_with_it(died)}")))
            work.alone = True
        if (verdict := self._assignment.verdict(work)) is not None:
            self._give_up(work, replace(verdict, kind="engine"))
        elif not work.holders:
            self._load.requeue(work)

    def _ended_with_it(self, died: Died) -> str:
        if died.kind != "stalled":
            return f"its worker {DIED} {MAX_ATTEMPTS} times while it worked on this partition, at the end on nothing else: {died.error}{self._when_lost}"
        stood = f"made no progress with it for {self._stall_s:g} s (workers.partition_stall_s), {MAX_ATTEMPTS} times, at the end with nothing else to do"
        return f"its worker {stood}{': ' * bool(self._when_still)}{self._when_still}"

    def _give_up(self, work: Work, failed: Failed) -> None:
        self._load.give_up(work, failed)
        for seat in self._staff.seats.values():  # it was the data's fault
            seat.failed.discard(failed.partition)

    # -- who does what next

    def _replacements(self) -> list[Action]:
        """As many workers as are wanted, where there is something for them to do. Looks at what was begun only where that is less than they are."""
        useful = len(self._load)
        if len(self._staff) >= self._staff.wanted:
            return []
        if useful < self._staff.wanted:  # else each of them has a partition, whatever is in doubt
            useful += self._assignment.doubts()
        missing = max(0, min(self._staff.wanted, useful) - len(self._staff))
        self._staff.starting += missing
        return [Start(frozenset(self._nodes.barred))] * missing

    def _next(self) -> list[Action]:
        if not self._load:
            return self._finish()
        return [*self._assignment.next(self._now_s)]

    def _finish(self) -> list[Action]:
        self._finished = True
        return [Finish(tuple(failed for _, (_, failed) in sorted(self._load.given_up.items())))]

    def _abort(self, error: JobError) -> list[Action]:
        self._finished = True
        return [Abort(error)]
