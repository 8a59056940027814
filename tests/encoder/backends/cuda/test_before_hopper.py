"""What GPUs before Hopper run, on the GPU that is here: PTX for compute capability 8.0, which the driver compiles, and no image of Hopper's own."""

from __future__ import annotations

import numpy as np
import pytest

from embermill.encoder.pipeline.batching import pack
from tests.encoder.backends.cuda.a_gpu import a_gpu, fresh_random

PTX_VERSION, BINARY_VERSION = 5, 6  # CUfunction_attribute


@pytest.mark.gpu
@pytest.mark.parametrize("head_dim", [32, 64, 128])
def test_the_driver_compiles_what_is_for_compute_80(head_dim: int) -> None:
    device = a_gpu()
    from cupy_backends.cuda.api import driver

    from embermill.encoder.backends.cuda.attention_plan import MMA
    from embermill.encoder.backends.cuda.ops import CudaOps
    from embermill.encoder.backends.cupy.choice import compute_capability

    ops = CudaOps(device._replace(architecture="compute_80"), "float16")
    assert not ops.hopper
    module = ops._module("cuda/sm80_attention.cu", HEAD_DIM=head_dim)
    plan = MMA[head_dim][0]
    function = module.kernel("attention_mma", (plan.threads,), plan.shared_bytes(head_dim)).function
    assert driver.funcGetAttribute(PTX_VERSION, function.ptr) == 80
    assert driver.funcGetAttribute(BINARY_VERSION, function.ptr) == compute_capability(device.architecture)


@pytest.mark.gpu
@pytest.mark.parametrize("window", [None, 64])
def test_a_tile_in_two_parts_has_the_same_bits(window: int | None) -> None:
    """As GPUs with 99 KB of shared memory compute heads of 128; documents whose last tile has rows in its first part only are among them."""
    device, random, num_heads, head_dim = a_gpu(), fresh_random(), 3, 128
    from embermill.encoder.backends.cuda.attention_plan import MMA
    from embermill.encoder.backends.cuda.ops import CudaOps

    ops = CudaOps(device._replace(architecture="compute_80"), "float16")
    offsets = np.cumsum([0, 1, 63, 64, 65, 128, 129, 193, 300, 5, 700])
    (batch,) = pack(np.zeros(offsets[-1], np.int32), offsets, 10**6)
    on_gpu = ops.to_device(batch)
    qkv = random.standard_normal((batch.num_rows, 3 * num_heads * head_dim), dtype=np.float32)
    whole, parts = (ops.to_host(ops._tensor_attention(plan, num_heads, head_dim, window=window)(ops.from_host(qkv), on_gpu)) for plan in MMA[head_dim])
    assert np.isfinite(whole).all() and whole.tobytes() == parts.tobytes()
