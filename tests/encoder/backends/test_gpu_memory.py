"""A real GPU whose pool is given a limit: batches shrink to it, and no bit changes; what cannot fit says so."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pytest

from embermill.encoder.backends.cupy.shrinking import ShrinkingProgram
from embermill.encoder.errors import DeviceError
from tests.encoder.backends.cuda.a_gpu import a_gpu, fresh_random
from tests.encoder.backends.test_gpu_invariance import VOCABULARY, _forward, _run

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("module", ["cupy", "cuda"])
@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_a_pool_that_runs_out_in_mid_run_halves_the_batches(module: str, family: str) -> None:
    ops: Any = import_module(f"embermill.encoder.backends.{module}.ops").make_ops(a_gpu(), "float16")
    random = fresh_random()
    program = ops.program(_forward(ops, random, family))
    assert isinstance(program, ShrinkingProgram)
    documents = [random.integers(0, VOCABULARY, n).astype(np.int32) for n in random.integers(1, 200, 400)]
    free = _run(program, documents, range(400), 32_768)
    inner: Any = program.program
    pool, limit = inner.pool, program.limit
    inner.release()
    pool.set_limit(size=int(9000 * inner.bytes_per_row))
    tight = _run(program, documents, range(400), 32_768)
    assert program.limit < min(limit, 32_768)
    assert all(tight[i].tobytes() == free[i].tobytes() for i in range(400))
    pool.set_limit(size=1 << 16)
    inner.release()
    with pytest.raises(DeviceError, match=r"out of GPU memory: a document of 150 tokens needs about [\d,]+ bytes, and [\d,]+ are free"):
        _run(program, [np.zeros(150, np.int32)], [0], 4096)
    program.close()


@pytest.mark.parametrize("module", ["cupy", "cuda"])
def test_a_model_of_more_bytes_than_there_are_is_refused_before_it_is_read(module: str) -> None:
    ops: Any = import_module(f"embermill.encoder.backends.{module}.ops").make_ops(a_gpu(), "float16")
    with pytest.raises(DeviceError, match="a model of 1,000,000,000,000 weights in float16 needs about 2,000,134,217,728 bytes"):
        ops.require_room(10**12)
    ops.require_room(1000)


def test_a_row_takes_what_was_measured() -> None:
    """Twice the rows take twice the memory: what the budget rests on."""
    ops: Any = import_module("embermill.encoder.backends.cuda.ops").make_ops(a_gpu(), "float16")
    program = ops.program(_forward(ops, fresh_random(), "bert")).program
    small, large = program.measure(1024, 64), program.measure(16_384, 64)
    assert small == pytest.approx(large, rel=0.15)
