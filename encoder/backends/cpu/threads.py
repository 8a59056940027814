"""CPU parallelism: whole batches on worker threads, each with a single-threaded BLAS.

NumPy releases the GIL inside its loops and products, so threads run side by side; a document never meets more than one of them, and its bits
cannot depend on how many there are.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

from embermill.encoder.pipeline.batching import PackedBatch

Forward = Callable[[PackedBatch], np.ndarray]


class BlasThreads:
    """One thread per BLAS call while anybody holds it, in this whole process: OpenBLAS keeps one number for all callers. Then again as many as before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._given_back = deque[None]()
        self._limits: threadpool_limits | None = None

    def hold(self) -> Callable[[], None]:
        """Returns what gives it back; to be called once or more often."""
        with self._lock:
            limits = threadpool_limits(limits=1, user_api="blas")  # each time: a library that was loaded meanwhile, or a caller, may have another number
            if self._holders == 0:
                self._limits = limits
            self._holders += 1
        self._settle()
        held = [None]

        def give_back() -> None:
            with contextlib.suppress(IndexError):
                self._given_back.append(held.pop())
            self._settle()

        return give_back

    def _settle(self) -> None:
        """Counts what was given back. The garbage collector gives back, too, at any moment, in a thread that holds the lock as well: whoever holds it looks
        again once it is free."""
        while self._given_back and self._lock.acquire(blocking=False):
            try:
                while self._given_back:
                    self._given_back.pop()
                    self._holders -= 1
                    if self._holders == 0 and self._limits is not None:
                        self._limits.restore_original_limits()
            finally:
                self._lock.release()


single_threaded_blas = BlasThreads()


def blas_name() -> str:
    """"openblas 0.3.31 Haswell": what decides a vector's last bits beside our own code."""
    libraries = [entry for entry in threadpool_info() if entry["user_api"] == "blas"]
    return ", ".join(f"{entry['internal_api']} {entry['version']} {entry.get('architecture', '')}".strip() for entry in libraries) or "unknown BLAS"


class InlineProgram:
    """One thread was given: the caller's own. A batch is computed inside `submit`."""

    depth = 1

    def __init__(self, forward: Forward, give_back: Callable[[], None]) -> None:
        self.forward, self.give_back = forward, give_back

    def submit(self, batch: PackedBatch) -> Future[np.ndarray]:
        done: Future[np.ndarray] = Future()
        try:
            done.set_result(self.forward(batch))
        except BaseException as error:
            done.set_exception(error)
            if not isinstance(error, Exception):
                raise
        return done

    def close(self) -> None:
        """The caller's BLAS threads are its own again."""
        self.give_back()


class ThreadedProgram:
    """`threads` workers over batches; `submit` blocks while `depth` of them wait or run."""

    def __init__(self, forward: Forward, threads: int, give_back: Callable[[], None]) -> None:
        self.forward, self.give_back = forward, give_back
        self.depth = 2 * threads
        self.places = BoundedSemaphore(self.depth)
        self.workers = ThreadPoolExecutor(threads, thread_name_prefix="encoder")

    def submit(self, batch: PackedBatch) -> Future[np.ndarray]:
        self.places.acquire()
        try:
            return self.workers.submit(self._run, batch)
        except BaseException:
            self.places.release()
            raise

    def _run(self, batch: PackedBatch) -> np.ndarray:
        try:
            return self.forward(batch)
        finally:
            self.places.release()

    def close(self) -> None:
        """Waits for what runs, drops what has not begun; further submits raise RuntimeError."""
        self.workers.shutdown(wait=True, cancel_futures=True)
        self.give_back()
