"""What CuPy's own launch does not do, through the CUDA driver (ctypes): maps for copies by TMA, which are arguments by value, and clusters."""

from __future__ import annotations

import ctypes as C
from functools import cache
from typing import Any

from embermill.encoder.backends.cupy.kernel import Kernel
from embermill.encoder.errors import DeviceError

MAP_TYPES = {"float16": 6, "bfloat16": 9}  # CUtensorMapDataType
SWIZZLE_128, PROMOTE_256 = 3, 3
CLUSTER_DIMENSION = 4  # CUlaunchAttributeID
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
    """arguments: maps and ctypes values, in the kernel's order; the driver copies them before this returns, also into a graph that is being captured."""
    pointers = (C.c_void_p * len(arguments))(*(a.address if isinstance(a, TensorMap) else C.addressof(a) for a in arguments))
    function = C.c_void_p(kernel.function.ptr)
    _check(_driver().cuLaunchKernel(function, blocks, 1, 1, *kernel.block, 1, 1, kernel.shared_bytes, C.c_void_p(stream), pointers, None), "launch a kernel")


class _Attribute(C.Structure):
    """CUlaunchAttribute: an id and a union of 64 bytes, here a cluster's three dimensions."""

    _fields_ = (("id", C.c_int), ("pad", C.c_int), ("dimensions", C.c_uint * 16))


class _Config(C.Structure):
    """CUlaunchConfig."""

    _fields_ = (
        ("grid", C.c_uint * 3), ("block", C.c_uint * 3), ("shared_bytes", C.c_uint), ("stream", C.c_void_p),
        ("attributes", C.POINTER(_Attribute)), ("count", C.c_uint),
    )  # fmt: skip


def resident_blocks(kernel: Kernel, cluster: int, multiprocessors: int) -> int:
    """Blocks of a kernel with one block a multiprocessor that run at once. A cluster lies inside one of the GPU's GPCs, and few GPCs are of equal size:
    clusters of four may leave some multiprocessors of a GPU idle, and blocks beyond those that fit would wait for a whole round."""
    shape = _Attribute(CLUSTER_DIMENSION, 0, (C.c_uint * 16)(cluster, 1, 1))
    block = (*kernel.block, 1, 1)[:3]
    config = _Config((C.c_uint * 3)(multiprocessors // cluster * cluster, 1, 1), (C.c_uint * 3)(*block), kernel.shared_bytes, None, C.pointer(shape), 1)
    clusters = C.c_int()
    function = C.c_void_p(kernel.function.ptr)
    _check(_driver().cuOccupancyMaxActiveClusters(C.byref(clusters), function, C.byref(config)), f"say how many clusters of {cluster} fit")
    return clusters.value * cluster


@cache
def _driver() -> Any:
    return C.CDLL("libcuda.so.1")


def _check(status: int, what: str) -> None:
    if status:
        raise DeviceError(f"the CUDA driver could not {what}: error {status}")
