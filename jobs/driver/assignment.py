"""Who does what next: which worker is given which partition, and when it has left it. Pure."""

from __future__ import annotations

from embermill.jobs.driver.actions import Submit
from embermill.jobs.driver.staff import Pace, Seat, Staff
from embermill.jobs.driver.workload import Work, Workload
from embermill.jobs.receipt import EMBED, Failed, Task


class Assignment:
    """Joins what is to be done with who is there to do it. queued: partitions that a worker has at a time, at most. kind: of the tasks."""

    def __init__(self, load: Workload, staff: Staff, queued: int, kind: str = EMBED) -> None:
        self._load, self._staff, self._queued, self._kind = load, staff, queued, kind
        self._pace = Pace()
        self._submitted = 0

    def next(self, now_s: float) -> list[Submit]:
        """Give each worker something to do, and something after that. A suspect shares its worker with nothing."""
        seats, waits = self._staff.seats, self._load.waits
        free = [(worker, seat) for worker, seat in seats.items() if not seat.queue or (waits and len(seat.queue) < self._queued)]
        if not free:
            return []
        share = max(1, len(self._load) // max(1, len(self._staff)))  # else the first to be ready would take all of a small job
        judged = self._staff.starting or any(not seat.doubtful for seat in seats.values())  # whether somebody else may try what a doubtful worker failed on
        return [submit for worker, seat in free for submit in self._fill(worker, seat, min(self._queued, share), not judged or not seat.doubtful, now_s)]

    def release(self, worker: int, number: int, attempt: int, now_s: float, *, done: bool) -> bool:
        """The worker has left the partition, and is through with it or has failed; False where that is old news."""
        seat = self._staff.seats.get(worker)
        if seat is None or seat.queue.get(number) != attempt:
            return False
        del seat.queue[number]
        if done:  # a broken GPU fails fast
            self._pace.add(now_s - seat.began_s)
        seat.moved_s = seat.began_s = now_s
        if work := self._load.open(number):
            work.holders.discard(worker)
        return True

    def verdict(self, work: Work) -> Failed | None:
        """The failure for which it is given up; None where another attempt may help."""
        return work.verdict(self.others(work))

    def others(self, work: Work) -> bool:
        """Whether there are workers, or may be, that it has not failed on."""
        return self._staff.starting > 0 or not work.failed_on.issuperset(self._staff.seats) or self._wants_another(work)

    def doubts(self) -> bool:
        """Whether a further worker is to be started so that another one looks at a partition. Looks at all that was begun: ask it where few are."""
        return any(map(self._wants_another, self._load.begun))

    def _wants_another(self, work: Work) -> bool:
        seats = self._staff.seats
        return len(work.failures) > 0 and len(work.failed_by_living) < 2 and self._staff.wanted > len(seats) and work.failed_on.issuperset(seats)

    def _fill(self, worker: int, seat: Seat, most: int, trusted: bool, now_s: float) -> list[Submit]:
        submits = list[Submit]()
        while len(seat.queue) < most and not self._holds_suspect(seat):
            work = self._load.take(not seat.queue, lambda work: self._fits(worker, work, trusted))
            if work is None and not seat.queue and trusted:
                work = self._slowest(worker, now_s)
            if work is None:
                break
            submits.append(self._submit(worker, seat, work, now_s))
        return submits

    def _fits(self, worker: int, work: Work, trusted: bool) -> bool:
        """Another worker than those it failed on, where there is one; a doubtful worker gets only what others failed on, and lived."""
        return (worker not in work.failed_on or not self.others(work)) and (trusted or bool(work.failed_by_living))

    def _holds_suspect(self, seat: Seat) -> bool:
        return any((work := self._load.open(number)) is not None and work.alone for number in seat.queue)

    def _slowest(self, worker: int, now_s: float) -> Work | None:
        """What another worker has had for the longest time, much longer than partitions take: nothing else is left for this one."""
        slow = [
            work for work in self._load.begun
            if len(work.holders) == 1 and worker not in work.holders and not work.alone and not work.failures and self._pace.slow(now_s - work.given_s)
        ]  # fmt: skip
        return min(slow, key=lambda work: work.given_s, default=None)

    def _submit(self, worker: int, seat: Seat, work: Work, now_s: float) -> Submit:
        assert worker not in work.holders, "a worker has a partition once"
        self._submitted += 1
        if not seat.queue:
            seat.moved_s = seat.began_s = now_s
        seat.queue[work.partition.number] = self._submitted
        if not work.holders:
            work.given_s = now_s
        work.holders.add(worker)
        isolate = any(failed.kind == "engine" for _, failed in work.failures) or self._staff.wanted == 1
        return Submit(worker, Task(work.partition, frozenset(work.shards), self._submitted, isolate, self._kind))
