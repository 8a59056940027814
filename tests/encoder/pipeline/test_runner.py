"""The runner's two threads: the device is kept busy, a program's rules are kept, and nothing is kept that is over."""

from __future__ import annotations

import sys
import threading
import time
import weakref

import numpy as np
import pytest

from embermill.encoder.pipeline.batching import PackedBatch, pack
from embermill.encoder.pipeline.busy_clock import BusyClock
from embermill.encoder.pipeline.runner import Runner
from embermill.encoder.pipeline.stream import encode_stream
from embermill.encoder.pipeline.switch_interval import INTERVAL_S, SHORT_SWITCH_INTERVAL
from tests.encoder.pipeline.streams import BUDGET, Sum, Sums, comes_true, tokenize, whole


def test_the_next_batch_is_submitted_while_the_last_one_is_waited_for() -> None:
    """Also where windows come one by one: a device that waits for the thread that waits for it stands idle half of the time."""
    batches = 20
    submitted = [threading.Event() for _ in range(batches + 1)]
    submitted[batches].set()  # nothing follows the last one

    class Overlapping(Sums):
        count = 0

        def submit(self, batch: PackedBatch) -> Sum:
            submitted[self.count].set()
            self.count += 1
            return super().submit(batch)

    collected = iter(range(batches))
    runner = Runner(Overlapping(lambda batch: waits_for(submitted[next(collected) + 1])), BusyClock())
    encoded = list(encode_stream((whole([[number] * 8]) for number in range(batches)), tokenize, runner, 1, BUDGET._replace(window_tokens=8)))
    runner.close()
    assert [batch.embeddings.item() for batch in encoded] == [8 * number for number in range(batches)]


def waits_for(event: threading.Event) -> None:
    assert event.wait(timeout=20)


def test_turns_are_short_while_something_is_in_flight_and_only_then() -> None:
    before, seen = sys.getswitchinterval(), list[float]()
    runner = Runner(Sums(lambda batch: seen.append(sys.getswitchinterval())), BusyClock(), SHORT_SWITCH_INTERVAL)
    for number in (1, 2):
        list(encode_stream([whole([[number] * 8] * 3)], tokenize, runner, 1, BUDGET))
    runner.close()
    assert seen == pytest.approx([INTERVAL_S] * 6)
    assert sys.getswitchinterval() == pytest.approx(before)


def packed(*tokens: int) -> list[PackedBatch]:
    """A batch for each token, of one document that holds nothing else."""
    return [batch for token in tokens for batch in pack(np.array([token], np.int32), np.array([0, 1]), 8)]


def test_a_batch_that_cannot_be_submitted_fails_in_its_turn() -> None:
    """A program with a ring of `depth` slots counts on it that the batch `depth` before has been collected, whatever became of those between."""

    class Ring(Sums):
        def submit(self, batch: PackedBatch) -> Sum:
            token = int(batch.input_ids[0])
            if token % 3 == 1:
                raise ArithmeticError(f"token {token}")
            in_order.append(computed >= {other for other in range(token - self.depth + 1) if other % 3 != 1})
            return super().submit(batch)

    def compute(batch: PackedBatch) -> None:
        time.sleep(0.02)  # by then whatever may be submitted has been
        computed.add(int(batch.input_ids[0]))

    computed, in_order, into = set[int](), list[bool](), [np.empty((1, 1), np.float32) for _ in range(9)]
    runner = Runner(Ring(compute), BusyClock())
    written = [runner.submit(packed(token), into[token])[0] for token in range(9)]
    runner.close()
    assert in_order == [True] * 6
    assert [token for token in range(9) if written[token].exception()] == [1, 4, 7]
    assert [into[token].item() for token in range(9) if token % 3 != 1] == [0, 2, 3, 5, 6, 8]


def test_a_runner_with_nothing_to_do_holds_nobodys_embeddings() -> None:
    runner = Runner(Sums(), BusyClock())
    into = np.empty((1, 1), np.float32)
    (written,) = runner.submit(packed(5), into)
    written.result(timeout=20)
    held = weakref.ref(into)
    del into
    assert comes_true(lambda: held() is None)
    runner.close()
