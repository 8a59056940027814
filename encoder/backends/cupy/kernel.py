"""A compiled kernel on the current device, ready to be launched on CuPy's current stream."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from embermill.encoder.backends.cupy.compiler import Defines, compile_kernels

DYNAMIC_SHARED_BYTES = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
PLAIN_SHARED_BYTES = 48 << 10  # what a block may have without asking

Dim = tuple[int, ...]


class KernelModule:
    """One compiled source file; its kernels by name."""

    def __init__(self, name: str, defines: Defines, architecture: str) -> None:
        from cupy.cuda.function import Module

        self.module = Module()
        self.module.load(compile_kernels(name, defines, architecture))

    def kernel(self, name: str, block: Dim, shared_bytes: int = 0) -> Kernel:
        return Kernel(self.module.get_function(name), block, shared_bytes)


class Kernel:
    """Arguments are CuPy arrays (their address), None (a null pointer), int (int32), float (float32) or NumPy scalars."""

    def __init__(self, function: Any, block: Dim, shared_bytes: int) -> None:
        self.function, self.block, self.shared_bytes = function, block, shared_bytes
        from cupy_backends.cuda.api import driver

        if shared_bytes > PLAIN_SHARED_BYTES:
            driver.funcSetAttribute(function.ptr, DYNAMIC_SHARED_BYTES, shared_bytes)
        self.resident_blocks = int(driver.occupancyMaxActiveBlocksPerMultiprocessor(function.ptr, prod(block), shared_bytes))  # per multiprocessor

    def __call__(self, grid: Dim, *arguments: Any) -> None:
        self.function((*grid, 1, 1)[:3], (*self.block, 1, 1)[:3], tuple(map(_argument, arguments)), self.shared_bytes)


def _argument(value: Any) -> Any:
    if value is None:
        return np.uint64(0)
    if isinstance(value, float):
        return np.float32(value)
    if isinstance(value, int):
        return np.int32(value)
    return np.uint64(value.data.ptr) if hasattr(value, "data") and hasattr(value.data, "ptr") else value
