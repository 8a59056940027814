"""What is left to do: partitions that wait, what is known of those that were begun, and when one of them is given up. Pure.

A failure counts against a partition only when it happened on two workers, where there are two: a broken GPU fails on everything that it is given.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from embermill.jobs.partition import Partition
from embermill.jobs.receipt import Failed, Receipt

FINAL = frozenset({"bad_data", "input_changed"})
MAX_ATTEMPTS = 3


@dataclass
class Work:
    """One partition that was begun, or of which a shard is committed, and that is not complete."""

    partition: Partition
    shards: set[int] = field(default_factory=set)  # ordinals that are committed
    last: int | None = None  # ordinal of its last shard, once known
    holders: set[int] = field(default_factory=set)  # workers it is queued on
    failures: list[tuple[int, Failed]] = field(default_factory=list)  # (worker, what went wrong there)
    alone: bool = False  # it was on a worker that died or stalled: it may be the cause
    given_s: float = 0.0  # when it was last given to a worker

    def note(self, receipt: Receipt) -> None:
        self.shards.add(receipt.ordinal)
        if receipt.last:
            self.last = receipt.ordinal

    @property
    def complete(self) -> bool:
        return self.last is not None and len(self.shards) == self.last + 1

    @property
    def failed_on(self) -> set[int]:
        return {worker for worker, _ in self.failures}

    def verdict(self, others: bool) -> Failed | None:
        """The failure for which it is given up; None where another attempt may help. others: whether there are workers that it has not failed on."""
        counted = Counter(failed.kind for _, failed in self.failures)
        enough = [kind for kind, number in counted.items() if kind in FINAL or number >= MAX_ATTEMPTS]
        if not enough or (others and len(self.failed_on) < 2):
            return None
        return next(failed for _, failed in reversed(self.failures) if failed.kind in enough)


class Workload:
    """All partitions of a plan. committed: receipts that are in the commit log already. Memory: little for each that waits."""

    def __init__(self, partitions: Sequence[Partition], committed: Iterable[Receipt]) -> None:
        self._partitions = {partition.number: partition for partition in partitions}  # those that are neither complete nor given up
        self._begun: dict[int, Work] = {}
        self.given_up: dict[int, tuple[Work, Failed]] = {}
        for receipt in committed:
            self.note(receipt)
        self._waiting = deque(self._partitions)
        self._suspects: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._partitions)

    @property
    def remaining(self) -> dict[int, Partition]:
        return self._partitions

    @property
    def waits(self) -> bool:
        """Whether any partition may be there to take: one that waits may be complete meanwhile."""
        return bool(self._waiting or self._suspects)

    @property
    def begun(self) -> Collection[Work]:
        """Those that were begun and are open."""
        return self._begun.values()

    def open(self, number: int) -> Work | None:
        """What is known of a partition that is neither complete nor given up."""
        if number not in self._partitions:
            return None
        if number not in self._begun:
            self._begun[number] = Work(self._partitions[number])
        return self._begun[number]

    def note(self, receipt: Receipt) -> bool:
        """Take a shard down as committed; False where it was already. One that comes late for a partition that was given up still counts."""
        number = receipt.partition
        work = self.given_up[number][0] if number in self.given_up else self.open(number)
        if work is None or receipt.ordinal in work.shards:
            return False
        work.note(receipt)
        if work.complete:
            self._close(number)
            self.given_up.pop(number, None)
        return True

    def take(self, idle: bool, fits: Callable[[Work], bool]) -> Work | None:
        """The next partition for a worker. idle: it has nothing else, so it may be given a suspect. fits: whether that worker may have this one."""
        for queue in (self._waiting, self._suspects) if idle else (self._waiting,):
            while queue and queue[0] not in self._partitions:
                queue.popleft()  # complete meanwhile, by a receipt that came late
            for place, number in enumerate(queue):
                if (work := self.open(number)) is not None and fits(work):
                    del queue[place]
                    return work
                if work is not None and not work.failures and not work.shards and not work.holders:
                    self._begun.pop(number)  # nothing is known of it: it only waits
                    break  # behind it are others like it: none of them would fit
        return None

    def requeue(self, work: Work, *, first: bool = False) -> None:
        """It waits again, unless it does already. first: before all that wait."""
        queue, number = self._suspects if work.alone else self._waiting, work.partition.number
        if number not in self._suspects and (number not in queue):
            (queue.appendleft if first else queue.append)(number)

    def give_up(self, work: Work, failed: Failed) -> None:
        self._close(work.partition.number)
        self.given_up[work.partition.number] = (work, failed)

    def acquit(self, worker: int, judge: Callable[[Work], Failed | None]) -> None:
        """That worker was at fault, not what it failed on: its failures are forgotten, and what was given up for them is tried again."""
        for work in [*self._begun.values(), *(work for work, _ in self.given_up.values())]:
            work.failures = [(by, failed) for by, failed in work.failures if by != worker]
        for number, (work, _) in list(self.given_up.items()):
            if judge(work) is None:
                del self.given_up[number]
                self._partitions[number], self._begun[number] = work.partition, work
                if not work.holders:
                    self.requeue(work, first=True)

    def _close(self, number: int) -> None:
        self._partitions.pop(number, None)
        self._begun.pop(number, None)
