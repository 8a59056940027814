"""The two threads that talk to a Program: batches from any number of callers in, embeddings where the caller wants them, the device kept busy.

    callers --groups--> submits, in the order in which they came --in flight--> collects, in the same order

A Program need not be safe for several threads that submit; here that is settled for everybody at once. Two threads, so that the next batch goes
to the device while the last one is still being waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np

from embermill.channel import Channel, ChannelClosed
from embermill.encoder.ops.base import Pending, Program
from embermill.encoder.pipeline.batching import PackedBatch
from embermill.encoder.pipeline.busy_clock import BusyClock
from embermill.encoder.pipeline.switch_interval import ShortSwitchInterval

Written = Future[None]


class _Submission(NamedTuple):
    batch: PackedBatch
    into: np.ndarray
    written: Written


class _Unsubmitted:
    """Pending of a batch that the program did not take. It fails in its turn like any other: a program counts on `depth` of them in order."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def result(self) -> np.ndarray:
        raise self._error


class Runner:
    """Runs batches through `program` in the order in which they come, `program.depth` of them in flight.

    tokens: of all that was computed. busy: counts the time that any is in flight.
    switch_interval: held short while any is; for a GPU, which waits for these threads.
    """

    def __init__(self, program: Program, busy: BusyClock, switch_interval: ShortSwitchInterval | None = None) -> None:
        self._program, self._busy, self._switch_interval = program, busy, switch_interval
        self.tokens = 0
        depth = max(1, program.depth)
        self._groups: Channel[list[_Submission]] = Channel(capacity=1)
        self._places = threading.Semaphore(depth)
        self._in_flight: Channel[tuple[Pending, _Submission]] = Channel(capacity=depth)
        bodies = {"encoder-submit": self._submit_all, "encoder-collect": self._collect_all}
        self._threads = [threading.Thread(target=body, name=name, daemon=True) for name, body in bodies.items()]
        for thread in self._threads:
            thread.start()

    def submit(self, batches: Sequence[PackedBatch], into: np.ndarray) -> list[Written]:
        """A future for each batch, done when its embeddings [B, E] are in into[batch.order]. Waits while another group is still waiting for its turn."""
        group = [_Submission(batch, into, Future()) for batch in batches]
        if group:
            try:
                self._groups.put(group)
            except ChannelClosed:
                raise RuntimeError("this encoder is closed") from None
        return [submission.written for submission in group]

    def stop(self) -> None:
        """Take nothing more; what was submitted is finished, then the program is closed."""
        self._groups.finish()

    def close(self) -> None:
        """stop(), and wait until it is done."""
        self.stop()
        for thread in self._threads:
            thread.join()

    def _submit_all(self) -> None:
        try:
            while True:
                self._submit_group(self._groups.get())
        except ChannelClosed:
            self._in_flight.finish()

    def _submit_group(self, group: list[_Submission]) -> None:  # its own frame, so that nobody's embeddings are held while there is nothing to do
        for submission in group:
            self._submit(submission)

    def _submit(self, submission: _Submission) -> None:
        self._enter()
        if not submission.written.set_running_or_notify_cancel():
            self._leave()
            return
        try:
            pending = self._program.submit(submission.batch)
        except BaseException as error:  # of this batch alone; it is the caller's to handle
            pending = _Unsubmitted(error)
        self._in_flight.put((pending, submission))

    def _collect_all(self) -> None:
        try:
            while True:
                self._collect(*self._in_flight.get())
        except ChannelClosed:
            self._program.close()

    def _collect(self, pending: Pending, submission: _Submission) -> None:
        try:
            submission.into[submission.batch.order] = pending.result()
        except BaseException as error:
            self._leave()
            submission.written.set_exception(error)
        else:
            self._leave()
            self.tokens += submission.batch.num_tokens
            submission.written.set_result(None)

    def _enter(self) -> None:
        self._places.acquire()
        self._busy.enter()
        if self._switch_interval is not None:
            self._switch_interval.enter()

    def _leave(self) -> None:
        if self._switch_interval is not None:
            self._switch_interval.leave()
        self._busy.leave()
        self._places.release()
