"""cuBLASLt by ctypes: x [T, K] @ weight[N, K]^T, with bias, an activation or a residual in the product's own epilogue.

One algorithm per product, chosen once at the largest T and used for every T: no split over K and no workspace (so no reduction between blocks),
hence one order of summation for each output whatever the batch holds. The library ranks algorithms as if power were no limit: `tile` overrules it.
GELU in cuBLASLt is the tanh form: it serves "gelu_new" alone.
"""

from __future__ import annotations

import ctypes as C
from dataclasses import dataclass
from functools import cache
from typing import Any

from embermill.encoder.errors import DeviceError

DATA_TYPES = {"float32": 0, "float16": 2, "bfloat16": 14}  # cudaDataType
COMPUTE_32F, SCALE_32F = 68, 0
TRANSPOSE_A, EPILOGUE, BIAS_POINTER, BIAS_TYPE = 3, 7, 8, 26  # cublasLtMatmulDescAttributes_t
EPILOGUES = {(None, False): 1, (None, True): 4, ("relu", False): 2, ("relu", True): 6, ("gelu_new", False): 32, ("gelu_new", True): 36}  # (activation, bias)
MAX_WORKSPACE, REDUCTION_MASK = 1, 3  # cublasLtMatmulPreferenceAttributes_t
OFFERED = 8  # algorithms that the library is asked for
TILE_256_128 = 24  # cublasLtMatmulTile_t: 256 outputs by 128 rows of x
ALGORITHM_FACTS = {"id": 0, "tile": 1, "split": 2, "swizzle": 4, "option": 5, "stages": 6}  # cublasLtMatmulAlgoConfigAttributes_t


class _Algorithm(C.Structure):
    _fields_ = (("data", C.c_uint64 * 8),)


class _Heuristic(C.Structure):
    _fields_ = (("algorithm", _Algorithm), ("workspace", C.c_size_t), ("state", C.c_int), ("waves", C.c_float), ("reserved", C.c_int * 4))


def _check(status: int, what: str) -> None:
    if status:
        raise DeviceError(f"cuBLASLt could not {what}: status {status}")


@cache
def _library() -> Any:
    from cuda.pathfinder import load_nvidia_dynamic_lib

    library = C.CDLL(load_nvidia_dynamic_lib("cublasLt").abs_path)
    library.cublasLtGetVersion.restype = C.c_size_t
    return library


@cache
def _handle(device: int) -> C.c_void_p:
    handle = C.c_void_p()
    _check(_library().cublasLtCreate(C.byref(handle)), f"start on device {device}")
    return handle


def version() -> str:
    """"cuBLASLt 13.1.1"."""
    number = int(_library().cublasLtGetVersion())
    return f"cuBLASLt {number // 10000}.{number // 100 % 100}.{number % 100}"


def _facts(algorithm: _Algorithm) -> dict[str, int]:
    found = {}
    for name, attribute in ALGORITHM_FACTS.items():
        value, written = C.c_uint32(), C.c_size_t()
        if _library().cublasLtMatmulAlgoConfigGetAttribute(C.byref(algorithm), attribute, C.byref(value), C.sizeof(value), C.byref(written)) == 0:
            found[name] = int(value.value)
    return found


@dataclass(frozen=True)
class Product:
    """Shapes and types of a planned product. `rows`: the T at which its algorithm is chosen."""

    outputs: int  # N
    inputs: int  # K
    precision: str
    activation: str | None
    rows: int


class Gemm:
    """out [T, N] = activation(x [T, K] @ weight[N, K]^T + bias [N] + residual [T, N]). Addresses are device pointers; weight and bias stay there.

    Of the algorithms that the library offers, its favourite first, this takes the first with this `tile`; else, or where there is none, number `candidate`.
    """

    def __init__(self, product: Product, weight: int, bias: int | None, device: int, *, tile: int | None = None, candidate: int = 0) -> None:
        self.product, self.weight = product, C.c_void_p(weight)
        self.handle, self.operation = _handle(device), C.c_void_p()
        self.alpha, self.zero, self.one = C.c_float(1.0), C.c_float(0.0), C.c_float(1.0)
        self.data_type = DATA_TYPES[product.precision]
        _check(_library().cublasLtMatmulDescCreate(C.byref(self.operation), COMPUTE_32F, SCALE_32F), "describe a product")
        self._set(TRANSPOSE_A, C.c_int32(1))
        self._set(EPILOGUE, C.c_int32(EPILOGUES[product.activation, bias is not None]))
        if bias is not None:
            self._set(BIAS_POINTER, C.c_uint64(bias))
            self._set(BIAS_TYPE, C.c_int32(self.data_type))
        self.weight_layout = self._layout(product.inputs, product.outputs)
        self.layouts: dict[int, tuple[C.c_void_p, C.c_void_p]] = {}
        self.algorithm = self._choose(tile, candidate)

    def __call__(self, x: int, out: int, rows: int, stream: int, residual: int | None = None) -> None:
        x_layout, out_layout = self._layouts(rows)
        pointer = C.c_void_p
        _check(
            _library().cublasLtMatmul(
                self.handle, self.operation, C.byref(self.alpha), self.weight, self.weight_layout, pointer(x), x_layout,
                C.byref(self.zero if residual is None else self.one), pointer(out if residual is None else residual), out_layout,
                pointer(out), out_layout, C.byref(self.algorithm), pointer(0), C.c_size_t(0), pointer(stream),
            ),
            f"multiply [{rows}, {self.product.inputs}] by [{self.product.inputs}, {self.product.outputs}]",
        )  # fmt: skip

    def facts(self) -> dict[str, int]:
        """What the library says of the chosen algorithm: id, tile, split, swizzle, option, stages."""
        return _facts(self.algorithm)

    def _choose(self, tile: int | None, candidate: int) -> _Algorithm:
        x_layout, out_layout = self._layouts(self.product.rows)
        preference, count, found = C.c_void_p(), C.c_int(), (_Heuristic * OFFERED)()
        _check(_library().cublasLtMatmulPreferenceCreate(C.byref(preference)), "make a preference")
        for attribute, value in ((MAX_WORKSPACE, C.c_size_t(0)), (REDUCTION_MASK, C.c_uint32(0))):
            _check(_library().cublasLtMatmulPreferenceSetAttribute(preference, attribute, C.byref(value), C.sizeof(value)), "set a preference")
        status = _library().cublasLtMatmulAlgoGetHeuristic(
            self.handle, self.operation, self.weight_layout, x_layout, out_layout, out_layout, preference, OFFERED, found, C.byref(count)
        )
        _library().cublasLtMatmulPreferenceDestroy(preference)
        if status or count.value <= candidate:
            raise DeviceError(f"cuBLASLt has no algorithm for {self.product} (status {status}, {count.value} found); choose another precision, or device='cpu'")
        algorithms: list[_Algorithm] = [offer.algorithm for offer in found[: count.value]]
        preferred = [algorithm for algorithm in algorithms if tile is not None and _facts(algorithm).get("tile") == tile]
        return preferred[0] if preferred else algorithms[candidate]

    def _layouts(self, rows: int) -> tuple[C.c_void_p, C.c_void_p]:
        if rows not in self.layouts:
            self.layouts[rows] = self._layout(self.product.inputs, rows), self._layout(self.product.outputs, rows)
        return self.layouts[rows]

    def _layout(self, rows: int, columns: int) -> C.c_void_p:
        """Column-major `rows` x `columns` with no gaps: a row-major [columns, rows]."""
        made = C.c_void_p()
        create = _library().cublasLtMatrixLayoutCreate
        _check(create(C.byref(made), self.data_type, C.c_uint64(rows), C.c_uint64(columns), C.c_int64(rows)), "lay out a matrix")
        return made

    def _set(self, attribute: int, value: Any) -> None:
        _check(_library().cublasLtMatmulDescSetAttribute(self.operation, attribute, C.byref(value), C.sizeof(value)), f"set attribute {attribute}")
