"""The one thread that talks to a Program: batches from any number of callers in, embeddings where the caller wants them, the device kept busy.

A Program need not be safe for several threads, and waits in `submit` while it is full; here both are settled for everybody at once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np

from encoder.batching import PackedBatch
from encoder.busy import BusyClock
from encoder.channel import Channel, ChannelClosed
from encoder.ops.base import Pending, Program
from encoder.turns import ShortTurns

Written = Future[None]


class _Work(NamedTuple):
    batch: PackedBatch
    into: np.ndarray
    written: Written


class Runner:
    """Runs batches through `program` in the order in which they come, `program.depth` of them in flight.

    busy: counts the time that any is in flight. turns: while any is, the interpreter's threads take short ones; for a card, which waits for this thread.
    """

    def __init__(self, program: Program, busy: BusyClock, turns: ShortTurns | None = None) -> None:
        self._program, self._busy, self._turns = program, busy, turns
        self._groups: Channel[list[_Work]] = Channel(capacity=1)
        self._waiting: deque[_Work] = deque()
        self._in_flight: deque[tuple[Pending, _Work]] = deque()
        self._thread = threading.Thread(target=self._run, name="encoder-runner", daemon=True)
        self._thread.start()

    def submit(self, batches: Sequence[PackedBatch], into: np.ndarray) -> list[Written]:
        """A future for each batch, done when its embeddings [B, E] are in into[batch.order]. Waits while another group is still waiting for its turn."""
        group = [_Work(batch, into, Future()) for batch in batches]
        if group:
            try:
                self._groups.put(group)
            except ChannelClosed:
                raise RuntimeError("this encoder is closed") from None
        return [work.written for work in group]

    def stop(self) -> None:
        """Take nothing more; what was submitted is finished, then the program is closed."""
        self._groups.finish()

    def close(self) -> None:
        """stop(), and wait until it is done."""
        self.stop()
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._take_group():
                self._fill()
                if self._in_flight:
                    self._collect()
        finally:
            self._program.close()

    def _take_group(self) -> bool:
        """Move the next group over when the last one is under way; False when all is done."""
        if self._waiting:
            return True
        try:
            self._waiting.extend(self._groups.get(timeout_s=0 if self._in_flight else None))
        except TimeoutError:
            pass
        except ChannelClosed:
            return bool(self._in_flight)
        return True

    def _fill(self) -> None:
        while self._waiting and len(self._in_flight) < max(1, self._program.depth):
            work = self._waiting.popleft()
            if not work.written.set_running_or_notify_cancel():
                continue
            if not self._in_flight:
                self._begin()
            try:
                self._in_flight.append((self._program.submit(work.batch), work))
            except BaseException as error:  # of this batch alone; it is the caller's to handle
                work.written.set_exception(error)
                if not self._in_flight:
                    self._rest()

    def _collect(self) -> None:
        pending, work = self._in_flight.popleft()
        try:
            work.into[work.batch.order] = pending.result()
            work.written.set_result(None)
        except BaseException as error:
            work.written.set_exception(error)
        if not self._in_flight:
            self._rest()

    def _begin(self) -> None:
        self._busy.enter()
        if self._turns is not None:
            self._turns.enter()

    def _rest(self) -> None:
        self._busy.leave()
        if self._turns is not None:
            self._turns.leave()
