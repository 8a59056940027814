"""A worker whose engine takes long for one batch says that it moves, as long as it does: the driver replaces one that stands still."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from embermill.encoder import Encoder
from embermill.jobs.engine import Embedded
from embermill.jobs.receipt import Event, Progress, Task
from embermill.jobs.worker import pulse
from embermill.jobs.worker.cutting import BatchLimits
from embermill.jobs.worker.pipeline import Pipeline
from embermill.jobs.worker.task_queue import TaskQueue
from embermill.jobs.worker.writing import Work
from tests.encoder.tiny_bert import TinyBert
from tests.jobs import engines
from tests.jobs.fakes import Shelf, partition, rows_of


class _Laborious(engines.PlainEngine):
    """Half a second for a batch, with `steps` steps on the way."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._steps, self.tokens_computed = steps, 0

    def answer(self, texts: pa.Array) -> Embedded:
        for _ in range(5):
            time.sleep(0.1)
            self.tokens_computed += self._steps > 0
        return super().answer(texts)


def progress_before_the_first_answer(engine: engines.PlainEngine) -> list[Progress]:
    queue, events = TaskQueue[Task](), list[Event]()
    queue.put(Task(partition(7)))
    queue.finish()
    Pipeline(engine, Work(lambda p: rows_of(p, 20), Shelf().open_shard, 20, BatchLimits(20, 1000)), events.append).run(queue)
    told = [event for event in events if isinstance(event, Progress) and event.stage == "encode"]
    assert sum(event.rows for event in told) + sum(event.rows for event in events if isinstance(event, Progress) and event.stage != "encode") == 20
    return told[: next((at for at, event in enumerate(told) if event.rows), len(told))]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "PULSE_S", 0.15)
    monkeypatch.setattr("embermill.jobs.worker.stage_clock.PROGRESS_EVERY_S", 0.01)


def test_an_engine_that_computes_is_seen_to_move() -> None:
    told = progress_before_the_first_answer(_Laborious(5))
    assert told and {(event.partition, event.tokens) for event in told} == {(7, 0)}


@pytest.mark.parametrize("engine", [_Laborious(0), engines.PlainEngine()], ids=["stuck", "says nothing of it"])
def test_an_engine_that_stands_still_is_not(engine: engines.PlainEngine) -> None:
    assert progress_before_the_first_answer(engine) == []


def test_an_encoder_counts_what_it_has_computed(tmp_path: Path) -> None:
    with Encoder.from_pretrained(str(TinyBert().write(tmp_path)), device="cpu", threads=1) as encoder:
        batch = next(iter(encoder.encode_stream([["how do i read a zip file", "a list"]])))
        assert encoder.tokens_computed == int(np.sum(batch.num_tokens)) > 0
