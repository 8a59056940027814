"""What a driver keeps does not grow with the number of workers that died."""

from __future__ import annotations

import gc
import logging
import pickle
import random
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from embermill.jobs.driver import commit_buffer, progress
from embermill.jobs.driver.commit_buffer import CommitBuffer
from embermill.jobs.driver.loop import drive
from embermill.jobs.driver.progress import Meter
from embermill.jobs.driver.run_record import RunRecord
from embermill.jobs.driver.scheduler import Scheduler
from embermill.jobs.driver.signs_of_life import SignsOfLife
from embermill.jobs.driver.staff import Gone
from embermill.jobs.metrics.ledger import Ledger
from embermill.jobs.pool.base import Died
from embermill.jobs.receipt import Done, Event, Progress, Receipt, Task
from embermill.jobs.storage import open_folder
from tests.jobs.fakes import partition, ready, receipt

ROOT = Path(__file__).parents[3]
WARM, JUDGED = 700, 600  # deaths; what is held of the last 256 is full by then
BYTES_A_DEATH = 40.0  # a number in a set takes more


class MortalWorkers:
    """Two workers at a time; each does one partition and dies with the next, in one of the ways that `how` says. Notes memory around those that are judged."""

    def __init__(self, how: Sequence[str], last: int) -> None:
        self._how, self._last = how, last
        self._events: list[tuple[int, Event | Died]] = []
        self._tasks: dict[int, list[Task]] = {}
        self.started = self.deaths = 0
        self.held: tuple[list[int], list[int]] = ([], [])  # bytes, before and after the deaths that are judged

    def start_worker(self, avoid: Collection[str] = ()) -> int:
        number, self.started = self.started, self.started + 1
        said = ready(host=f"host-{number % 7}", pid=number, node="node", fingerprint={f"file {each}": "f" * 64 for each in range(9)})
        self._events.append((number, pickle.loads(pickle.dumps(said))))  # as it comes from another process
        self._tasks[number] = []
        return number

    def room(self) -> dict[str, int]:
        return {"node": 2}

    def want(self, more: int) -> None:
        pass

    def submit(self, worker: int, task: Task) -> None:
        if worker in self._tasks:
            self._tasks[worker].append(task)
        else:  # it is dead, and the driver has yet to hear of it: all the same it had published this one
            self._events.append((worker, receipt(task.partition.number)))

    def events(self, timeout_s: float) -> list[tuple[int, Event | Died]]:
        if not self._events:
            for number, tasks in [*self._tasks.items()]:
                self._events += [(number, event) for event in self._work(number, tasks)]
        events, self._events = self._events, []
        return events

    def _work(self, number: int, tasks: list[Task]) -> list[Event | Died]:
        done = [*tasks]
        tasks.clear()
        said: list[Event | Died] = [event for task in done for event in _finished(task)]
        if self.deaths == self._last:
            return said
        del self._tasks[number]
        self.deaths += 1
        if self.deaths % 10 == 0 and (WARM - 50 < self.deaths <= WARM or self.deaths > WARM + JUDGED - 50):
            gc.collect()
            self.held[self.deaths > WARM].append(tracemalloc.get_traced_memory()[0])
        return [*said, Died(f"the worker was lost: pid {number}, exit {number:x}", self._how[number % len(self._how)])]

    def stop_worker(self, worker: int) -> None:
        self._tasks.pop(worker, None)

    def close(self) -> None:
        pass


def _finished(task: Task) -> list[Event | Died]:
    number = task.partition.number
    return [Progress(number, "encode", 1, 1, 0.0, {"encode": 0.1}), receipt(number), Done(number, task.attempt)]


class NoLog:
    """A commit log keeps receipts by design; this one keeps none."""

    def append(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        return [*receipts]


def bytes_a_death(how: Sequence[str]) -> float:
    """What is held more after each. To be called once in a process of its own: what other threads allocate meanwhile would count."""
    commit_buffer.FLUSH_RECEIPTS, progress.WINDOW_S = 1, 0.0  # what a few seconds bring is held by design, and here that is all there is
    logging.disable(logging.CRITICAL)
    partitions = tuple(partition(number) for number in range(6 * (WARM + JUDGED)))
    with tempfile.TemporaryDirectory() as folder:
        record, ledger, signs = RunRecord(open_folder(folder), 0.0, kind="embed", version=1, device="cpu"), Ledger("dataset"), SignsOfLife()
        meter = Meter(partitions)
        buffer = CommitBuffer(NoLog(), told=meter.committed)
        pool = MortalWorkers(how, WARM + JUDGED + 10)

        def listen(worker: int, event: Event | Died) -> None:
            ledger.heard(event)
            record.heard(worker, event, 1.0)

        tracemalloc.start()
        drive(Scheduler(partitions, (), workers=2), pool, buffer, meter, signs=signs, listen=listen)
        tracemalloc.stop()
    before, after = map(min, pool.held)  # what is under way comes and goes
    return (after - before) / JUDGED


@pytest.mark.parametrize("how", [("lost",), ("defect", "late")], ids=str)
def test_of_workers_that_died_nothing_is_kept(how: tuple[str, ...]) -> None:
    code = f"from tests.jobs.driver.test_bounded import bytes_a_death; print(bytes_a_death({how!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= BYTES_A_DEATH


def test_gone_workers_are_told_as_a_set_would() -> None:
    rng = random.Random(0)
    gone, known, living = Gone(), set[int](), [*range(3)]
    for number in range(3, 2000):
        worker = living.pop(rng.randrange(3))
        gone.add(worker)
        known.add(worker)
        living.append(number)
        if number % 100 == 0:
            assert all((each in gone) == (each in known) for each in range(number + 5))
