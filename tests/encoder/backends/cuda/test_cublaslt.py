"""cuBLASLt's products: bias, residual and epilogues against float32; one algorithm for every T gives a row the same bits."""

from __future__ import annotations

import numpy as np
import pytest

from tests.encoder.backends.cuda.a_gpu import LIMITS, a_gpu, fresh_random, relative_error

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize(("outputs", "inputs"), [(2304, 768), (768, 3072), (1152, 384), (384, 1536), (4096, 1024), (1024, 4096)])
def test_product_with_bias_and_residual(precision: str, outputs: int, inputs: int) -> None:
    device = a_gpu()
    import cupy as cp

    from embermill.encoder.backends.cuda.cublaslt import Gemm, Product
    from embermill.encoder.backends.cuda.ops import CudaOps

    random, ops = fresh_random(), CudaOps(device, precision)
    weight = ops.from_host(random.standard_normal((outputs, inputs), dtype=np.float32) * np.float32(inputs**-0.5))
    bias = ops.from_host(random.standard_normal((1, outputs), dtype=np.float32))
    gemm = Gemm(Product(outputs, inputs, precision, None, 65536), weight.data.ptr, bias.data.ptr, 0, tile=ops._tile(outputs))
    print(gemm.facts())
    assert gemm.facts()["split"] in (0, 1), "an algorithm that splits K adds in an order of its own"
    x = ops.from_host(random.standard_normal((40000, inputs), dtype=np.float32))
    residual = ops.from_host(random.standard_normal((40000, outputs), dtype=np.float32))
    first = None
    for rows in (1, 100, 1024, 5632, 11264, 33792, 40000):
        out = cp.full((40000, outputs), 0x7E7E, cp.uint16)
        gemm(x.data.ptr, out.data.ptr, rows, cp.cuda.get_current_stream().ptr, residual.data.ptr)
        assert bool((out[rows:] == 0x7E7E).all()), "wrote past its rows"
        head = cp.asnumpy(out[: min(rows, 100)])
        first = head[:1] if first is None else first
        assert (head[:1] == first).all(), f"row 0 has other bits at {rows} rows"
        if rows == 100:
            hundred = head
            product = ops.to_host(x[:100]) @ ops.to_host(weight).T + ops.to_host(bias) + ops.to_host(residual[:100])
            assert relative_error(ops.to_host(out[:100].view(ops.stored)), product) < LIMITS[precision]
        elif rows > 100:
            assert (head == hundred).all(), f"rows have other bits at {rows} rows"
