"""gemm_norm against float32: odd numbers of rows, rows in one block and in two, nothing written outside, the same bits for every T, in the residual's place."""

from __future__ import annotations

import numpy as np
import pytest

from tests.encoder.backends.cuda.a_gpu import LIMITS, a_gpu, fresh_random, relative_error

pytestmark = pytest.mark.gpu

ROWS = 40000  # more tiles than blocks: several rounds of each


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize(("outputs", "inputs"), [(256, 64), (384, 384), (384, 1536), (512, 128), (768, 64), (768, 768), (768, 3072)])
def test_product_with_residual_and_layer_norm(precision: str, outputs: int, inputs: int) -> None:
    device = a_gpu("sm_90")
    import cupy as cp

    from embermill.encoder.backends.cuda.ops import CudaOps
    from embermill.encoder.backends.cuda.sm90_gemm_norm import HopperNorm
    from embermill.encoder.backends.cupy.ops import STORAGES

    random, ops = fresh_random(), CudaOps(device, precision)
    weight = ops.from_host(random.standard_normal((outputs, inputs), dtype=np.float32) * np.float32(inputs**-0.5))
    bias, gamma, beta = (cp.asarray(random.standard_normal(outputs, dtype=np.float32)) for _ in range(3))
    product = HopperNorm(
        weight.data.ptr, bias.data.ptr, gamma.data.ptr, beta.data.ptr, 1e-12, outputs, inputs,
        precision=precision, storage=STORAGES[precision], multiprocessors=device.compute_units,
    )  # fmt: skip
    x, residual = (ops.from_host(random.standard_normal((ROWS, width), dtype=np.float32)) for width in (inputs, outputs))
    stream = cp.cuda.get_current_stream().ptr
    first = None
    for rows in (1, 64, 127, 256, 2999, ROWS):
        out = cp.full((ROWS, outputs), 0x7E7E, cp.uint16)  # NaN in both types
        product(x.data.ptr, residual.data.ptr, out.data.ptr, rows, stream)
        cp.cuda.Device().synchronize()
        assert bool((out[rows:] == 0x7E7E).all()), "wrote past its rows"
        bits = cp.asnumpy(out[: min(rows, 64)])
        first = bits[:1] if first is None else first
        assert (bits[:1] == first).all(), "a row's bits depend on the number of rows"
        seen = np.unique(np.concatenate([np.arange(min(rows, 200)), np.arange(max(0, rows - 200), rows)]))
        held = ops.to_host(x[seen]).astype(np.float64) @ ops.to_host(weight).T + cp.asnumpy(bias) + ops.to_host(residual[seen])
        centred = held - held.mean(1, keepdims=True)
        expected = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-12) * cp.asnumpy(gamma) + cp.asnumpy(beta)
        assert relative_error(ops.to_host(out[seen].view(ops.stored)), expected) < LIMITS[precision]
    again = residual.copy()
    product(x.data.ptr, again.data.ptr, again.data.ptr, ROWS, stream)
    assert bool((again.view(cp.uint16) == out).all()), "in the residual's place it gives other bits"


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize(("outputs", "inputs"), [(256, 64), (384, 1536), (512, 128), (768, 768), (768, 1152)])
def test_the_sum_is_kept(precision: str, outputs: int, inputs: int) -> None:
    """In the residual's place, as pre-norm layers want it; LayerNorm is that of the kernel that does not keep it, bit for bit."""
    device = a_gpu("sm_90")
    from embermill.encoder.backends.cuda.ops import CudaOps

    random, ops = fresh_random(), CudaOps(device, precision)
    weight = ops.to_host(ops.from_host(random.standard_normal((outputs, inputs), dtype=np.float32) * np.float32(inputs**-0.5)))
    gamma = random.standard_normal(outputs, dtype=np.float32)
    x, residual = (random.standard_normal((5000, width), dtype=np.float32) for width in (inputs, outputs))
    stored, before = ops.from_host(x), ops.from_host(residual)
    normed = ops.linear_norm(weight, None, gamma, None, 1e-5)(stored, before)
    held = ops.to_host(stored).astype(np.float64) @ weight.T + ops.to_host(before)
    total, also = ops.linear_sum_norm(weight, None, gamma, None, 1e-5)(stored, before)
    assert relative_error(ops.to_host(total), held) < LIMITS[precision]
    assert ops.to_host(also).tobytes() == ops.to_host(normed).tobytes()
