"""Kernels that copy by TMA: their maps are arguments by value, which CuPy's own launch does not take, so the CUDA driver makes and launches (ctypes)."""

from __future__ import annotations

import ctypes as C
from functools import cache
from typing import Any

from encoder.errors import DeviceError
from encoder.kernels.kernel import Kernel

MAP_TYPES = {"float16": 6, "bfloat16": 9}  # CUtensorMapDataType
SWIZZLE_128, PROMOTE_256 = 3, 3
COLUMNS = 64  # of a box: 128 bytes


class TensorMap(C.Structure):
    """CUtensorMap: 128 bytes, aligned to 64 within `room`."""

    _fields_ = (("room", C.c_uint8 * 192),)

    @property
    def address(self) -> int:
        return (C.addressof(self) + 63) & ~63


def tensor_map(address: int, rows: int, columns: int, box_rows: int, precision: str) -> TensorMap:
    """A map of row-major [rows, columns] in boxes of box_rows x 64 columns; what lies outside reads as zero and is never written."""
    made = TensorMap()
    two = C.c_uint32 * 2
    _check(
        _driver().cuTensorMapEncodeTiled(
            C.c_void_p(made.address), MAP_TYPES[precision], 2, C.c_void_p(address), (C.c_uint64 * 2)(columns, rows), (C.c_uint64 * 1)(columns * 2),
            two(COLUMNS, box_rows), two(1, 1), 0, SWIZZLE_128, PROMOTE_256, 0,
        ),
        f"map [{rows}, {columns}] at {address:#x}",
    )  # fmt: skip
    return made


def launch(kernel: Kernel, blocks: int, stream: int, *arguments: TensorMap | Any) -> None:
    """arguments: maps and ctypes values, in the kernel's order."""
    pointers = (C.c_void_p * len(arguments))(*(a.address if isinstance(a, TensorMap) else C.addressof(a) for a in arguments))
    function = C.c_void_p(kernel.function.ptr)
    _check(_driver().cuLaunchKernel(function, blocks, 1, 1, *kernel.block, 1, 1, kernel.shared_bytes, C.c_void_p(stream), pointers, None), "launch a kernel")


@cache
def _driver() -> Any:
    return C.CDLL("libcuda.so.1")


def _check(status: int, what: str) -> None:
    if status:
        raise DeviceError(f"the CUDA driver could not {what}: error {status}")
