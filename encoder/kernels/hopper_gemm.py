"""cuda/gemm_wgmma.cu: a product with the activation in its epilogue.

The driver makes the TMA maps and launches (ctypes): a map is an argument by value, which CuPy's own launch does not take.
"""

from __future__ import annotations

import ctypes as C
from dataclasses import dataclass
from functools import cache
from typing import Any

from encoder.errors import DeviceError
from encoder.kernels.kernel import KernelModule

TILE_M, TILE_K, THREADS = 128, 64, 384
MAP_TYPES = {"float16": 6, "bfloat16": 9}  # CUtensorMapDataType
SWIZZLE_128, PROMOTE_256 = 3, 3


@dataclass(frozen=True)
class Tile:
    """columns: of the 128 rows. stages: of shared memory. cluster: blocks that share the weights."""

    columns: int = 256
    stages: int = 4
    cluster: int = 2

    @property
    def shared_bytes(self) -> int:
        """Stages of x and weight, boxes of 64 x 64 on their way out, barriers, and room to align to 1,024."""
        boxes = 2 if self.columns % 128 else 4
        return self.stages * (TILE_M + self.columns) * TILE_K * 2 + boxes * 64 * 64 * 2 + self.stages * 16 + 1024


CHOSEN = Tile()  # where a product names no other


class TensorMap(C.Structure):
    """CUtensorMap: 128 bytes, aligned to 64 within `room`."""

    _fields_ = (("room", C.c_uint8 * 192),)

    @property
    def address(self) -> int:
        return (C.addressof(self) + 63) & ~63


@cache
def _driver() -> Any:
    return C.CDLL("libcuda.so.1")


def _check(status: int, what: str) -> None:
    if status:
        raise DeviceError(f"the CUDA driver could not {what}: error {status}")


def tensor_map(address: int, rows: int, columns: int, box_rows: int, precision: str) -> TensorMap:
    """A map of row-major [rows, columns] in boxes of box_rows x 64 columns; what lies outside reads as zero and is never written."""
    made = TensorMap()
    two = C.c_uint32 * 2
    _check(
        _driver().cuTensorMapEncodeTiled(
            C.c_void_p(made.address), MAP_TYPES[precision], 2, C.c_void_p(address), (C.c_uint64 * 2)(columns, rows), (C.c_uint64 * 1)(columns * 2),
            two(64, box_rows), two(1, 1), 0, SWIZZLE_128, PROMOTE_256, 0,
        ),
        f"map [{rows}, {columns}] at {address:#x}",
    )  # fmt: skip
    return made


class HopperGemm:
    """out [T, N] = activation(x [T, K] @ weight[N, K]^T + bias [N]); bias is float32. Addresses are device pointers."""

    def __init__(
        self,
        weight: int,
        bias: int,
        outputs: int,
        inputs: int,
        *,
        precision: str,
        storage: int,
        activation: int,
        multiprocessors: int,
        tile: Tile | None = None,
    ) -> None:
        self.tile = tile or CHOSEN
        self.outputs, self.inputs, self.precision, self.bias = outputs, inputs, precision, bias
        shape = dict(TILE_N=self.tile.columns, STAGES=self.tile.stages, CLUSTER=self.tile.cluster)
        defines = dict(STORAGE=storage, ACTIVATION=activation) | shape
        self.module = KernelModule("cuda/gemm_wgmma.cu", defines, "sm_90a")
        self.kernel = self.module.kernel("gemm_wgmma", (THREADS,), self.tile.shared_bytes)
        self.blocks = multiprocessors // self.tile.cluster * self.tile.cluster
        self.weight_map = tensor_map(weight, outputs, inputs, self.tile.columns // self.tile.cluster, precision)
        self.maps: dict[tuple[int, int, int], tuple[TensorMap, TensorMap]] = {}

    @staticmethod
    def fits(outputs: int, inputs: int) -> bool:
        """Whether the kernel takes these shapes."""
        return outputs % CHOSEN.columns == 0 and inputs % TILE_K == 0

    def __call__(self, x: int, out: int, rows: int, stream: int) -> None:
        if (x, out, rows) not in self.maps:
            self.maps[x, out, rows] = tensor_map(x, rows, self.inputs, TILE_M, self.precision), tensor_map(out, rows, self.outputs, 64, self.precision)
        x_map, out_map = self.maps[x, out, rows]
        bias, m, n, k = C.c_uint64(self.bias), C.c_int(rows), C.c_int(self.outputs), C.c_int(self.inputs)
        arguments = (C.c_void_p * 7)(
            x_map.address, self.weight_map.address, out_map.address, C.addressof(bias), C.addressof(m), C.addressof(n), C.addressof(k)
        )
        function, shared = C.c_void_p(self.kernel.function.ptr), self.tile.shared_bytes
        status = _driver().cuLaunchKernel(function, self.blocks, 1, 1, THREADS, 1, 1, shared, C.c_void_p(stream), arguments, None)
        _check(status, "launch gemm_wgmma")
