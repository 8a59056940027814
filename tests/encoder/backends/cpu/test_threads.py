"""Settings of the whole process are borrowed: BLAS has its threads back when the last encoder is closed."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits  # type: ignore[import-untyped]

from embermill.encoder.backends.cpu import ops as cpu_ops
from embermill.encoder.backends.cpu import threads as cpu_threads
from embermill.encoder.backends.cpu.ops import NumpyOps
from embermill.encoder.backends.cpu.threads import BlasThreads


def blas_threads() -> set[int]:
    return {entry["num_threads"] for entry in threadpool_info() if entry["user_api"] == "blas"}


@pytest.mark.parametrize("threads", [1, 2])
def test_blas_has_its_threads_back(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr(cpu_ops, "single_threaded_blas", BlasThreads())  # encoders of other tests may be open still
    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        first, second = NumpyOps(threads), NumpyOps(threads)
        programs = [ops.program(lambda batch: np.zeros((1, 1), np.float32)) for ops in (first, second)]
        assert blas_threads() == {1}
        programs[0].close()
        programs[0].close()
        assert blas_threads() == {1}, "the other one still computes"
        programs[1].close()
        assert blas_threads() == before
        dropped = NumpyOps(threads)
        assert blas_threads() == {1}
        del dropped
        gc.collect()
        assert blas_threads() == before


def test_one_is_dropped_by_the_collector_while_another_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector runs in the thread that holds the lock; waiting for it there would never end."""
    blas, dropped = BlasThreads(), list[Callable[[], None]]()

    def limits(**settings: Any) -> threadpool_limits:
        while dropped:
            dropped.pop()()
        return threadpool_limits(**settings)

    monkeypatch.setattr(cpu_threads, "threadpool_limits", limits)
    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        dropped.append(blas.hold())
        last = blas.hold()
        assert blas_threads() == {1} and not dropped
        last()
        last()
        assert blas_threads() == before
