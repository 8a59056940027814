"""What is left to do: partitions that wait, what is known of those that were begun, and when one of them is given up. Pure.

A failure counts against a partition only when it happened on two workers, where there are two: a broken GPU fails on everything that it is given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from embermill.jobs.partition import Partition
from embermill.jobs.plan.partitions import Places, numbers_of
from embermill.jobs.receipt import Failed, Receipt, Shard

FINAL = frozenset({"bad_data", "input_changed"})
DIED, STOOD_STILL = "died", "stood still"  # kinds of failures that no worker reports: it ended with the partition, or was ended
ENDED = frozenset({DIED, STOOD_STILL})
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

    def note(self, receipt: Shard | Receipt) -> None:
        self.shards.add(receipt.ordinal)
        if receipt.last:
            self.last = receipt.ordinal

    @property
    def complete(self) -> bool:
        return self.last is not None and len(self.shards) == self.last + 1

    @property
    def failed_on(self) -> set[int]:
        """Workers that it failed on, or that ended with it."""
        return {worker for worker, _ in self.failures}

    @property
    def failed_by_living(self) -> set[int]:
        """Workers that failed on it and said so. One that ended with it says little: what was queued behind the cause ends with its worker, too."""
        return {worker for worker, failed in self.failures if failed.kind not in ENDED}

    def verdict(self, others: bool) -> Failed | None:
        """The failure for which it is given up; None where another attempt may help. others: whether there are workers that it has not failed on."""
        for _, failed in reversed(self.failures):
            alike = [worker for worker, other in self.failures if other.kind == failed.kind]
            enough = failed.kind in FINAL or len(alike) >= MAX_ATTEMPTS
            if enough and (not others or len({*alike}) >= 2):
                return failed
        return None


class Workload(Collection[int]):
    """The partitions of a plan that are neither complete nor given up, by number. partitions: the plan's, in order of their numbers.

    committed: what is in the commit log already. Memory: a byte for each partition, and what is known of those that were begun.
    """

    def __init__(self, partitions: Sequence[Partition], committed: Iterable[Shard | Receipt]) -> None:
        self._partitions, self._numbers = partitions, numbers_of(partitions)
        self._places = Places(self._numbers)
        self._open = bytearray(b"\1") * len(partitions)  # by place: whether it is neither complete nor given up
        self._left = len(partitions)
        self._begun: dict[int, Work] = {}
        self.given_up: dict[int, tuple[Work, Failed]] = {}
        self._fresh = 0  # place of the first one that was never taken; all behind it wait
        self._first: deque[int] = deque()  # those that wait again: before the fresh ones, and behind them
        self._last: deque[int] = deque()
        self._suspects: deque[int] = deque()
        self._waiting_again: set[int] = set()
        for shard in committed:
            self.note(shard)

    def __len__(self) -> int:
        return self._left

    def __contains__(self, number: object) -> bool:
        place = self._places.find(number) if isinstance(number, int) else None
        return place is not None and bool(self._open[place])

    def __iter__(self) -> Iterator[int]:
        return (number for number, is_open in zip(self._numbers, self._open, strict=True) if is_open)

    @property
    def waits(self) -> bool:
        """Whether any partition may be there to take: one that waits may be complete meanwhile."""
        return self._fresh < len(self._open) or bool(self._waiting_again)

    @property
    def begun(self) -> Collection[Work]:
        """Those that were begun and are open."""
        return self._begun.values()

    def open(self, number: int) -> Work | None:
        """What is known of a partition that is neither complete nor given up."""
        if (work := self._begun.get(number)) is not None:
            return work
        place = self._places.find(number)
        if place is None or not self._open[place]:
            return None
        work = self._begun[number] = Work(self._partitions[place])
        return work

    def note(self, receipt: Shard | Receipt) -> bool:
        """Take a shard down as committed; False where it was already. One that comes late for a partition that was given up still counts."""
        number = receipt.partition
        if receipt.last and receipt.ordinal == 0 and number not in self._begun and number not in self.given_up:
            return self._close(number)
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
        if not self.waits:
            return None
        work = self._take_again(self._first, fits) or self._take_fresh(fits) or self._take_again(self._last, fits)
        return self._take_again(self._suspects, fits) if work is None and idle else work

    def _take_fresh(self, fits: Callable[[Work], bool]) -> Work | None:
        """One of those that were never taken: nothing went wrong with them, so where the first does not fit no other does."""
        while self._fresh < len(self._open) and not self._open[self._fresh]:
            self._fresh += 1  # complete, by a receipt from before
        if self._fresh == len(self._open):
            return None
        number = self._numbers[self._fresh]
        work = self.open(number)
        assert work is not None
        if fits(work):
            self._fresh += 1
            return work
        if not work.shards:
            del self._begun[number]  # nothing is known of it
        return None

    def _take_again(self, queue: deque[int], fits: Callable[[Work], bool]) -> Work | None:
        for place, number in enumerate(queue):
            if (work := self.open(number)) is not None and fits(work):
                del queue[place]
                self._waiting_again.discard(number)
                return work
        self._drop_complete(queue)
        return None

    def _drop_complete(self, queue: deque[int]) -> None:
        while queue and queue[0] not in self:
            self._waiting_again.discard(queue.popleft())  # complete meanwhile, by a receipt that came late

    def requeue(self, work: Work, *, first: bool = False) -> None:
        """It waits again, unless it does already. first: before all that wait."""
        number = work.partition.number
        if number in self._waiting_again or self._is_fresh(number):
            return
        self._waiting_again.add(number)
        if work.alone:
            self._drop_complete(self._suspects)  # nobody asks for one while there is anything else
            (self._suspects.appendleft if first else self._suspects.append)(number)
        elif first:
            self._first.appendleft(number)
        else:
            self._last.append(number)

    def _is_fresh(self, number: int) -> bool:
        place = self._places.find(number)
        return place is not None and place >= self._fresh

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
                self._reopen(number, work)
                if not work.holders:
                    self.requeue(work, first=True)

    def _reopen(self, number: int, work: Work) -> None:
        place = self._places.find(number)
        assert place is not None
        self._open[place], self._begun[number] = 1, work
        self._left += 1

    def _close(self, number: int) -> bool:
        """It is open no more; False where it was not."""
        self._begun.pop(number, None)
        place = self._places.find(number)
        if place is None or not self._open[place]:
            return False
        self._open[place] = 0
        self._left -= 1
        return True
