"""The driver's loop: what it says of the workers that it hears of."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

import pytest

from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.driver.commit_buffer import CommitBuffer
from embermill.jobs.driver.loop import drive
from embermill.jobs.driver.progress import Meter
from embermill.jobs.driver.scheduler import Scheduler
from embermill.jobs.pool.base import Died
from embermill.jobs.receipt import Done, Event, Task
from embermill.jobs.storage import open_folder
from tests.jobs.fakes import partition, ready, receipt

Heard = list[tuple[int, Event | Died]]


class ScriptedPool:
    """Says what it was told to say, and then finishes whatever was submitted."""

    def __init__(self, script: Heard) -> None:
        self.script, self.tasks, self.started = script, list[tuple[int, Task]](), 0

    def start_worker(self, avoid: Collection[str] = ()) -> int:
        self.started += 1
        return self.started - 1

    def room(self) -> None:
        pass

    def want(self, more: int) -> None:
        pass

    def submit(self, worker: int, task: Task) -> None:
        self.tasks.append((worker, task))

    def events(self, timeout_s: float) -> Heard:
        if self.script:
            return [self.script.pop(0)]
        finished, self.tasks = self.tasks, []
        numbers = [(worker, task.partition.number, task.attempt) for worker, task in finished]
        return [(worker, event) for worker, number, attempt in numbers for event in (receipt(number), Done(number, attempt))]

    def stop_worker(self, worker: int) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("script", "warnings"),
    [
        ([(0, ready(device_uuid="GPU-a")), (1, ready(device_uuid="GPU-b"))], 0),
        ([(0, ready(device_uuid="GPU-a")), (1, ready(device_uuid="GPU-a"))], 1),
        ([(0, ready()), (1, ready())], 0),
        ([(0, ready(device_uuid="GPU-a")), (0, Died("gone")), (1, ready(device_uuid="GPU-a"))], 0),
    ],
    ids=["a card each", "one card for both", "no cards", "the card of one that is gone"],
)
def test_two_workers_on_one_card_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture, script: Heard, warnings: int) -> None:
    partitions = tuple(partition(number) for number in range(6))
    meter = Meter(partitions, [])
    commit_buffer = CommitBuffer(CommitLog(open_folder(str(tmp_path))), told=meter.committed)
    with caplog.at_level(logging.WARNING):
        assert drive(Scheduler(partitions, (), workers=2), ScriptedPool(script), commit_buffer, meter) == ()
    said = [message for message in caplog.messages if "on the same GPU" in message]
    assert len(said) == warnings and all("GPU-a" in message and "CUDA_VISIBLE_DEVICES" in message for message in said)
