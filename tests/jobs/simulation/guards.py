"""Twelve guards of the shipped code, and how to take each of them away: the simulator must notice."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from unittest import mock

import pyarrow as pa

from embermill.jobs.dataset.metadata import commits
from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.lease import Contender
from embermill.jobs.driver.assignment import Assignment
from embermill.jobs.driver.scheduler import Scheduler
from embermill.jobs.driver.staff import Seat, Staff
from embermill.jobs.driver.workload import MAX_ATTEMPTS, Work, Workload
from embermill.jobs.pool.nodes import Nodes
from embermill.jobs.receipt import Failed, Receipt
from tests.jobs.simulation.moving import MOVING_FROM
from tests.jobs.simulation.store import MemoryFolder


def _overwrites(self: MemoryFolder, name: str, data: bytes) -> None:
    self.store.files.pop(name, None)
    self.store.put_if_absent(name, data)


def _every_row(self: CommitLog, table: pa.Table) -> list[int]:
    return list(range(len(commits.shard_keys(table))))  # type: ignore[attr-defined]  # Arrow's tables or those in their place


def _whatever_attempt(self: Assignment, worker: int, number: int, attempt: int, now_s: float, *, done: bool) -> bool:
    seat = self._staff.seats.get(worker)
    if seat is None or number not in seat.queue:
        return False
    del seat.queue[number]
    if work := self._load.open(number):
        work.holders.discard(worker)
    return True


def _one_worker_is_enough(self: Work, others: bool) -> Failed | None:
    kinds = [failed.kind for _, failed in self.failures]
    return next((failed for _, failed in self.failures if kinds.count(failed.kind) >= (1 if failed.kind == "engine" else MAX_ATTEMPTS)), None)


def _noted_again(self: Workload, receipt: Receipt) -> bool:
    work = self.open(receipt.partition)
    if work is not None:
        work.note(receipt)
        if work.complete:
            self._close(receipt.partition)
    return True


def _every_place(self: Staff, room: Mapping[str, int], barred: Collection[str], most: float) -> None:
    self.wanted = sum(room.values())


def _none_where_no_node_is(self: Staff, room: Mapping[str, int], barred: Collection[str], most: float) -> None:
    self.wanted = int(min(most, sum(room.values())))


@contextlib.contextmanager
def _commits_overwrite() -> Iterator[None]:
    create = CommitLog._create

    def overwriting(self: CommitLog, table: pa.Table) -> bool:
        with mock.patch.object(MemoryFolder, "create", _overwrites):
            return create(self, table)

    with mock.patch.object(CommitLog, "_create", overwriting):
        yield


GUARDS: dict[str, tuple[Callable[[], contextlib.AbstractContextManager[object]], tuple[int, ...]]] = {  # and seeds that notice
    "a commit is created only if absent": (_commits_overwrite, (33, 47, 101)),
    "a holder that was taken over finds the next commit taken": (lambda: mock.patch.object(CommitLog, "fence", lambda self: None), (37, 48)),
    "a receipt that is committed is not committed again": (lambda: mock.patch.object(CommitLog, "_new_rows", _every_row), (288, 421)),
    "a silent holder is waited for": (lambda: mock.patch.object(Contender, "_judge", lambda self, token, holder, now_s: None), (0, 1)),
    "a repeated receipt is no news": (lambda: mock.patch.object(Workload, "note", _noted_again), (8, 16)),
    "news of an earlier attempt is old": (lambda: mock.patch.object(Assignment, "release", _whatever_attempt), (101, 125, 131)),
    "a failure counts where two workers fail": (lambda: mock.patch.object(Work, "verdict", _one_worker_is_enough), (80, 141)),
    "a worker that only fails gets nothing new": (lambda: mock.patch.object(Seat, "doubtful", False), (157, 307)),
    "a node whose workers die gets no more": (lambda: mock.patch.object(Nodes, "died", lambda self, died, in_hand: None), (282, 662)),
    "no more workers than were asked for, however many nodes come": (
        lambda: mock.patch.object(Staff, "follow", _every_place), (MOVING_FROM, MOVING_FROM + 1)
    ),
    "one worker is wanted where no node is": (lambda: mock.patch.object(Staff, "follow", _none_where_no_node_is), (MOVING_FROM + 731,)),
    "work that stands still is taken back": (lambda: mock.patch.object(Scheduler, "tick", lambda self, now_s: []), (0, 7)),
}
