"""Scales are measured by a worker that is ready, before there is a plan: what becomes of it where workers die, stand still or fail."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from embermill.jobs.errors import DataError, Interrupted, UsageError
from embermill.jobs.partition import Partition
from embermill.jobs.pool.base import Died
from embermill.jobs.pool.opening import Heard
from embermill.jobs.receipt import MEASURE, Alive, Event, Failed, Measured, Progress, Ready, Sample, Task
from embermill.jobs.stages.scales import measure_forms
from tests.jobs.vectors.forms import form

READY = Ready("cpu", "", "", "float32", {}, (), "here", 1, 1)
MEASURED = Measured((form("int8", 8, scale=0.5),), 3)
TASK = Task(Partition(0, "00000000", (), 0), kind=MEASURE, sample=Sample(None, (form("int8", 8),), 10))


class Scripted:
    """A pool whose workers say what is written down for each task. None: nothing for as long as is asked."""

    def __init__(self, answers: dict[int, list[Event | Died]]) -> None:
        self.answers, self.said, self.stopped = answers, list[tuple[int, Event | Died]](), list[int]()

    def start_worker(self, avoid: Collection[str] = ()) -> int:
        raise AssertionError("none is started")

    def submit(self, worker: int, task: Task) -> None:
        assert task.kind == MEASURE
        self.said += [(worker, event) for event in self.answers[worker]]

    def events(self, timeout_s: float) -> list[tuple[int, Event | Died]]:
        found, self.said = self.said, []
        return found

    def stop_worker(self, worker: int) -> None:
        self.stopped.append(worker)

    def room(self) -> Mapping[str, int] | None:
        return None

    def want(self, more: int) -> None: ...

    def close(self) -> None: ...


def measure(answers: dict[int, list[Any]], heard: Heard, stall_s: float = 60) -> Any:
    return measure_forms(Scripted(answers), heard, TASK, stall_s=stall_s, stop=threading.Event())


def test_what_other_workers_say_meanwhile_is_kept() -> None:
    heard: Heard = [(0, READY)]
    pool = Scripted({0: [Progress(0, "encode", 1, 1, 0.0), Alive(), MEASURED]})
    pool.said.append((1, READY))
    assert measure_forms(pool, heard, TASK, stall_s=60, stop=threading.Event()) == MEASURED.forms
    assert heard == [(0, READY), (1, READY)]


def test_a_worker_that_dies_of_it_is_followed_by_the_next() -> None:
    heard: Heard = [(0, READY), (1, READY)]
    assert measure({0: [Died("lost")], 1: [MEASURED]}, heard) == MEASURED.forms
    assert heard[2:] == [(0, Died("lost"))]


def test_where_none_is_left_the_run_can_be_repeated() -> None:
    with pytest.raises(Interrupted, match="the scale of int8 columns could not be measured: lost: nothing was written; run again"):
        measure({0: [Died("lost")]}, [(0, READY)])


def test_a_worker_that_stands_still_is_ended() -> None:
    heard: Heard = [(0, READY), (1, READY)]
    assert measure({0: [], 1: [MEASURED]}, heard, stall_s=0) == MEASURED.forms
    assert isinstance(heard[2][1], Died) and heard[2][1].kind == "stalled"


@pytest.mark.parametrize(("kind", "raised"), [("usage", UsageError), ("engine", DataError), ("storage", Interrupted), ("defect", RuntimeError)])
def test_a_failure_is_told_as_what_it_is(kind: str, raised: type[Exception]) -> None:
    with pytest.raises(raised, match="on a sample of the corpus: it broke"):
        measure({0: [Failed(0, kind, "it broke")]}, [(0, READY)])


def test_it_can_be_interrupted() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted, match="interrupted while scales were measured; nothing was written"):
        measure_forms(Scripted({0: []}), [(0, READY)], TASK, stall_s=60, stop=stop)
