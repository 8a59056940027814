"""Attention on tensor cores against the portable kernel on the same packed documents, up to 8,192 tokens, and the same bits whatever lies beside a document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from embermill.encoder.pipeline.batching import pack
from tests.encoder.backends.cuda.a_gpu import a_gpu, fresh_random, relative_error

pytestmark = pytest.mark.gpu

LENGTHS = {"short": [1, 2, 15, 16, 17, 63, 64, 65], "128": [128] * 40, "to 512": [512, 511, 129, 127, 300], "8192": [8192, 1000]}


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("head_dim", [32, 64, 128])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_same_as_portable(precision: str, head_dim: int, lengths: list[int]) -> None:
    device = a_gpu()
    from embermill.encoder.backends.cuda.ops import CudaOps
    from embermill.encoder.backends.cupy.ops import CupyOps

    random, num_heads = fresh_random(), 3
    fast, portable = CudaOps(device, precision), CupyOps(device, precision)
    (batch,) = pack(np.zeros(sum(lengths), np.int32), np.cumsum([0, *lengths]), 10**6)
    values = random.standard_normal((batch.num_rows, 3 * num_heads * head_dim), dtype=np.float32)
    got = _attend(fast, values, batch, num_heads, head_dim)
    expected = _attend(portable, values, batch, num_heads, head_dim)
    assert relative_error(fast.to_host(got), portable.to_host(expected)) < {"float16": 2e-3, "bfloat16": 1.2e-2}[precision]


def window(random: np.random.Generator, radius: int) -> dict[str, Any]:
    return {"window": radius}


def bias(random: np.random.Generator, radius: int) -> dict[str, Any]:
    return {"bias": random.standard_normal((3, 2 * radius + 1), dtype=np.float32)}


DISTANCES = [(window, 64), (window, 10), (window, 200), (bias, 91), (bias, 90), (bias, 0), (bias, 300)]


@pytest.mark.parametrize("kernel", ["chosen", "mma"])
@pytest.mark.parametrize("head_dim", [32, 64, 128])
@pytest.mark.parametrize(("kind", "radius"), DISTANCES, ids=[f"{kind.__name__} {radius}" for kind, radius in DISTANCES])
def test_windows_and_biases(kernel: str, head_dim: int, kind: Callable[..., dict[str, Any]], radius: int) -> None:
    """attention_mma, too, where Hopper's own kernel is the chosen one."""
    device = a_gpu()
    from embermill.encoder.backends.cuda.attention_plan import MMA
    from embermill.encoder.backends.cuda.ops import CudaOps
    from embermill.encoder.backends.cupy.ops import CupyOps

    random, num_heads = fresh_random(), 3
    fast, portable, distance = CudaOps(device, "float16"), CupyOps(device, "float16"), kind(random, radius)
    lengths = [1, 2, 63, 64, 65, 90, 92, 129, 300, 512, 1000]
    (batch,) = pack(np.zeros(sum(lengths), np.int32), np.cumsum([0, *lengths]), 10**6)
    values = random.standard_normal((batch.num_rows, 3 * num_heads * head_dim), dtype=np.float32)
    older = fast._tensor_attention(MMA[head_dim][0], num_heads, head_dim, **distance)
    attend = fast.attention(num_heads, head_dim, **distance) if kernel == "chosen" else older
    got = attend(fast.from_host(values), fast.to_device(batch))
    expected = portable.attention(num_heads, head_dim, **distance)(portable.from_host(values), portable.to_device(batch))
    assert relative_error(fast.to_host(got), portable.to_host(expected)) < 2e-3


NEIGHBOURS = {"whole": {}, "window": {"window": 64}, "bias": {"bias": np.linspace(-3, 3, 2 * 183, dtype=np.float32).reshape(2, 183)}}


@pytest.mark.parametrize("distance", NEIGHBOURS.values(), ids=NEIGHBOURS)
@pytest.mark.parametrize("head_dim", [32, 64, 128])
def test_bits_of_a_document_do_not_depend_on_its_neighbours(head_dim: int, distance: dict[str, Any]) -> None:
    device = a_gpu()
    from embermill.encoder.backends.cuda.ops import CudaOps

    random, ops, num_heads = fresh_random(), CudaOps(device, "float16"), 2
    lengths = random.integers(1, 300, 60)
    rows = [random.standard_normal((n, 3 * num_heads * head_dim), dtype=np.float32) for n in lengths]
    (batch,) = pack(np.zeros(int(lengths.sum()), np.int32), np.cumsum([0, *lengths]), 10**6)
    together = ops.to_host(_attend(ops, np.concatenate([rows[i] for i in batch.order]), batch, num_heads, head_dim, distance))
    for place, document in enumerate(batch.order):
        (single,) = pack(np.zeros(int(lengths[document]), np.int32), np.array([0, lengths[document]]), 10**6)
        alone = ops.to_host(_attend(ops, rows[document], single, num_heads, head_dim, distance))
        assert alone.tobytes() == together[batch.cu_seqlens[place] : batch.cu_seqlens[place + 1]].tobytes()


def _attend(ops, values, batch, num_heads, head_dim, distance=None):  # type: ignore[no-untyped-def]
    import cupy as cp

    poison = cp.full(batch.num_rows * num_heads * head_dim * 4, 0xFF, cp.uint8)  # freed at once: the pool hands this memory, all NaN, to the output
    del poison
    return ops.attention(num_heads, head_dim, **(distance or {}))(ops.from_host(values), ops.to_device(batch))
