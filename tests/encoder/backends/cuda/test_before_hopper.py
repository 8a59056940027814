"""What GPUs before Hopper run, on the GPU that is here: PTX for compute capability 8.0, which the driver compiles, and no image of Hopper's own."""

from __future__ import annotations

import pytest

from tests.encoder.backends.cuda.a_gpu import a_gpu

PTX_VERSION, BINARY_VERSION = 5, 6  # CUfunction_attribute


@pytest.mark.gpu
@pytest.mark.parametrize("head_dim", [32, 64, 128])
def test_the_driver_compiles_what_is_for_compute_80(head_dim: int) -> None:
    device = a_gpu()
    from cupy_backends.cuda.api import driver

    from embermill.encoder.backends.cuda.architecture import compute_capability
    from embermill.encoder.backends.cuda.ops import MMA, CudaOps

    ops = CudaOps(device._replace(architecture="compute_80"), "float16")
    assert not ops.hopper
    module = ops._module("cuda/sm80_attention.cu", HEAD_DIM=head_dim)
    function = module.kernel("attention_mma", (MMA[head_dim == 128].threads,), MMA[head_dim == 128].shared_bytes(head_dim)).function
    assert driver.funcGetAttribute(PTX_VERSION, function.ptr) == 80
    assert driver.funcGetAttribute(BINARY_VERSION, function.ptr) == compute_capability(device.architecture)
