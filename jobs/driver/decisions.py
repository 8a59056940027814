"""The driver's decisions: events in, actions out. No clock, no I/O, no Ray: what it decides follows from what it was told alone.

    Start    begin another worker; it speaks up as Ready, or Died
    Stop     end a worker that must not work
    Submit   queue a partition on a worker
    Commit   a shard that no commit names yet
    Finish   nothing is left to do; `failures` could not be finished, everything else is committed
    Abort    going on is pointless

Every event may be repeated, late, or come from a worker that was given up: a receipt stands for a shard that is published and checked, so the first one
counts, whoever sends it. A partition on a worker that died is run again alone, so that one that kills its worker is told from those that were beside it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from embermill.jobs.device_tuning import DEVICE_TUNING
from embermill.jobs.errors import Interrupted, JobError, UsageError
from embermill.jobs.partition import Partition, describe_partition
from embermill.jobs.pool.base import Died
from embermill.jobs.receipt import Done, Event, Failed, Progress, Ready, Receipt, Task

FINAL = frozenset({"bad_data", "input_changed"})
MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class Start:
    pass


@dataclass(frozen=True)
class Stop:
    worker: int


@dataclass(frozen=True)
class Submit:
    worker: int
    task: Task


@dataclass(frozen=True)
class Commit:
    receipt: Receipt


@dataclass(frozen=True)
class Finish:
    failures: tuple[Failed, ...]


@dataclass(frozen=True)
class Abort:
    error: JobError


Action = Start | Stop | Submit | Commit | Finish | Abort


@dataclass
class _Work:
    """What is known of one partition that is not finished."""

    partition: Partition
    shards: set[int] = field(default_factory=set)  # ordinals that are committed
    last: int | None = None  # ordinal of its last shard, once known
    holders: set[int] = field(default_factory=set)  # workers it is queued on
    alone: bool = False  # it was on a worker that died
    attempts: Counter[str] = field(default_factory=Counter)

    def note(self, receipt: Receipt) -> None:
        self.shards.add(receipt.ordinal)
        if receipt.last:
            self.last = receipt.ordinal

    @property
    def complete(self) -> bool:
        return self.last is not None and len(self.shards) == self.last + 1


class Driver:
    """partitions: the plan's, in order. committed: receipts that are in the commit log already.

    workers: how many to keep, `starting` of which are on their way. queued: partitions that a worker has at a time, at most.
    refuse: why a worker that is ready must not work, or None.
    """

    def __init__(
        self,
        partitions: Iterable[Partition],
        committed: Iterable[Receipt],
        *,
        workers: int,
        starting: int = 0,
        queued: int = DEVICE_TUNING["cpu"].queued_per_worker,
        refuse: Callable[[Ready], str | None] = lambda ready: None,
    ) -> None:
        self._open = {partition.number: _Work(partition) for partition in partitions}
        self._given_up: dict[int, tuple[_Work, Failed]] = {}
        self._workers = workers
        self._starting = starting
        self._queued = queued
        self._refuse = refuse
        self._storage_failures = 0  # attempts that failed in the storage one after another, with no shard in between
        self._idle_deaths = 0  # workers lost one after another that had nothing to do, with no shard in between
        self._queues: dict[int, dict[int, int]] = {}  # worker -> partition -> attempt
        self._submitted = 0
        self._gone: set[int] = set()
        self._finished = False
        for receipt in committed:
            self._note(receipt)
        self._pending = deque(self._open)
        self._suspects: deque[int] = deque()

    def start(self) -> list[Action]:
        """The first actions: as many workers as are wanted and useful; Finish at once where nothing is to be done."""
        return self._replacements() if self._open else self._finish()

    def handle(self, worker: int, event: Event | Died) -> list[Action]:
        """What to do about one event of one worker."""
        if self._finished:
            return []
        match event:
            case Ready():
                return self._ready(worker, event)
            case Receipt():
                return self._receipt(event)
            case Done():
                return self._left(worker, event)
            case Failed():
                return self._failed(worker, event)
            case Died():
                return self._died(worker, event)
            case Progress():
                return []

    @property
    def remaining(self) -> Mapping[int, Partition]:
        """Partitions that are neither complete nor given up, by number."""
        return {number: work.partition for number, work in self._open.items()}

    def _ready(self, worker: int, ready: Ready) -> list[Action]:
        if worker in self._queues or worker in self._gone:
            return []
        if reason := self._refuse(ready):
            return [Stop(worker), *self._died(worker, Died(reason, "usage"))]
        self._starting -= 1
        self._queues[worker] = {}
        return self._fill(worker)

    def _receipt(self, receipt: Receipt) -> list[Action]:
        self._idle_deaths = self._storage_failures = 0
        if not self._note(receipt):
            return []
        return [Commit(receipt), *([] if self._open else self._finish())]

    def _left(self, worker: int, done: Done) -> list[Action]:
        """A worker is through with a partition. Where a shard is missing all the same, its receipt was lost on the way: the next attempt adopts it."""
        number = done.partition
        if not self._release(worker, number, done.attempt):
            return []
        if work := self._open.get(number):
            lost = Failed(number, "defect", f"{describe_partition(work.partition)}: its worker was through with it and shards are missing")
            self._again(work, lost)
        return self._next()

    def _failed(self, worker: int, failed: Failed) -> list[Action]:
        if not self._release(worker, failed.partition, failed.attempt):
            return []
        if failed.kind == "usage":  # no attempt and no partition would end otherwise
            return self._abort(UsageError(failed.message))
        self._storage_failures = self._storage_failures + 1 if failed.kind == "storage" else 0
        if self._storage_failures >= MAX_ATTEMPTS * self._queued * max(1, len(self._queues)):
            many = f"{self._storage_failures} attempts failed one after another and no shard came between them: the storage, not the data"
            return self._abort(Interrupted(f"{many}; the last one: {failed.message}"))
        if work := self._open.get(failed.partition):
            self._again(work, failed)
        return self._next()

    def _again(self, work: _Work, failed: Failed) -> None:
        """Another attempt, if it may help and none is under way."""
        work.attempts[failed.kind] += 1
        if failed.kind in FINAL or work.attempts[failed.kind] >= MAX_ATTEMPTS:
            self._give_up(work, failed)
        elif not work.holders:
            self._requeue(work)

    def _died(self, worker: int, died: Died) -> list[Action]:
        if worker in self._gone:
            return []
        self._gone.add(worker)
        queue = self._queues.pop(worker, None)
        if queue is None:
            self._starting -= 1
        if queue is None and died.kind == "usage":
            self._workers -= 1  # another one would refuse too; those that work go on
        elif not queue:
            self._idle_deaths += 1
        for number in queue or ():
            self._orphaned(worker, number, died)
        if died.kind == "usage" and not (self._queues or self._starting):
            return self._abort(UsageError(died.error))
        if self._idle_deaths >= MAX_ATTEMPTS * max(1, self._workers):
            return self._abort(Interrupted(f"{self._idle_deaths} workers were lost one after another before they did anything; the last one: {died.error}"))
        return self._replacements() + self._next()

    def _orphaned(self, worker: int, number: int, died: Died) -> None:
        """A partition whose worker died: it may be the cause."""
        work = self._open.get(number)
        if work is None:
            return
        work.holders.discard(worker)
        work.attempts["died"] += 1
        if work.attempts["died"] >= MAX_ATTEMPTS:
            reason = f"its worker died {MAX_ATTEMPTS} times while it worked on this partition, at the end on nothing else"
            self._give_up(work, Failed(number, "engine", f"{describe_partition(work.partition)}: {reason}: {died.error}"))
        elif not work.holders:
            work.alone = True
            self._requeue(work)

    def _replacements(self) -> list[Action]:
        """As many workers as are wanted, where there is something for them to do."""
        useful = min(self._workers, len(self._open))
        missing = max(0, useful - self._starting - len(self._queues))
        self._starting += missing
        return [Start()] * missing

    def _next(self) -> list[Action]:
        if not self._open:
            return self._finish()
        return [action for worker in self._queues for action in self._fill(worker)]

    def _fill(self, worker: int) -> list[Action]:
        """Give a worker something to do, and something after that. A suspect shares its worker with nothing."""
        queue, actions = self._queues[worker], list[Action]()
        share = max(1, len(self._open) // max(1, len(self._queues) + self._starting))  # else the first to be ready would take all of a small job
        while len(queue) < min(self._queued, share) and not any(number in self._open and self._open[number].alone for number in queue):
            source = self._pending or (None if queue else self._suspects)
            if not source:
                break
            work = self._open.get(source.popleft())
            if work is None:
                continue
            self._submitted += 1
            queue[work.partition.number] = self._submitted
            work.holders.add(worker)
            actions.append(Submit(worker, Task(work.partition, frozenset(work.shards), self._submitted)))
        return actions

    def _note(self, receipt: Receipt) -> bool:
        """Take a shard down as committed; False where it was already. One that comes late for a partition that was given up still counts."""
        number = receipt.partition
        work = self._open.get(number) or self._given_up.get(number, (None,))[0]
        if work is None or receipt.ordinal in work.shards:
            return False
        work.note(receipt)
        if work.complete:
            self._open.pop(number, None)
            self._given_up.pop(number, None)
        return True

    def _release(self, worker: int, number: int, attempt: int) -> bool:
        """The worker has left the partition; False where that is old news."""
        queue = self._queues.get(worker, {})
        if queue.get(number) != attempt:
            return False
        del queue[number]
        if work := self._open.get(number):
            work.holders.discard(worker)
        return True

    def _requeue(self, work: _Work) -> None:
        waiting = self._suspects if work.alone else self._pending
        if work.partition.number not in waiting:
            waiting.append(work.partition.number)

    def _give_up(self, work: _Work, failed: Failed) -> None:
        self._given_up[failed.partition] = (work, failed)
        del self._open[failed.partition]

    def _finish(self) -> list[Action]:
        self._finished = True
        return [Finish(tuple(self._given_up[number][1] for number in sorted(self._given_up)))]

    def _abort(self, error: JobError) -> list[Action]:
        self._finished = True
        return [Abort(error)]
