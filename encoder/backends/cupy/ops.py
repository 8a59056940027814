"""The portable GPU backend: CuPy, its GEMM, and the kernels of kernels/. The same text on CUDA (sm_80 up) and ROCm; correct first.

Activations are CuPy arrays [T, N]: float32, float16, or uint16 holding bfloat16's bits (not every CuPy has that type). All arithmetic is float32.
Products run over blocks of GEMM_ROWS rows, always the same shape, so the library always takes the same kernel and a document's bits do not
depend on how many others share its batch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import cupy as cp
import numpy as np
from cupy_backends.cuda.libs import cublas

from embermill.encoder.backends.cupy.batch import BatchRoom, DeviceArray, GpuBatch, Pooled, attention_tiles
from embermill.encoder.backends.cupy.choice import describe_choice
from embermill.encoder.backends.cupy.compiler import compiler_version
from embermill.encoder.backends.cupy.kernel import Kernel, KernelModule
from embermill.encoder.backends.cupy.memory import RESERVE_BYTES, does_not_fit, refusing, rows_that_fit
from embermill.encoder.backends.cupy.pooled import PooledOps, activation_number, float32, vector_or_zeros
from embermill.encoder.backends.cupy.program import GpuProgram
from embermill.encoder.backends.cupy.rotary import RotaryAngles
from embermill.encoder.backends.cupy.shrinking import ShrinkingProgram
from embermill.encoder.errors import DeviceError
from embermill.encoder.ops.base import Linear, Program
from embermill.encoder.ops.blocks import NormWeights
from embermill.encoder.ops.rotary import Rotary
from embermill.encoder.pipeline.batching import PackedBatch

log = logging.getLogger(__name__)

GEMM_ROWS = 4096
CONVERTED_BYTES = 256 << 20  # of a weight on the GPU in the type of its file, beside what it becomes: the embeddings of XLM-R-large are 1 GB in float32
STORAGES = {"float32": 32, "float16": 16, "bfloat16": 116}
STORED: dict[str, np.dtype[Any]] = {"float32": np.dtype(np.float32), "float16": np.dtype(np.float16), "bfloat16": np.dtype(np.uint16)}
CUDA_TYPES = {"float32": 0, "float16": 2, "bfloat16": 14}  # cudaDataType; CuPy turns them into hipBLAS's
COMPUTE_32F, OP_N, OP_T, DEFAULT_ALGORITHM = 68, 0, 1, -1
ROWS_PER_BLOCK = 8
LARGEST_HEAD = 128


class DeviceFacts(Protocol):
    @property
    def architecture(self) -> str: ...
    @property
    def compute_units(self) -> int: ...


def make_ops(device: DeviceFacts, precision: str) -> CupyOps:
    """precision: "auto" (float16), "float32", "float16" or "bfloat16". Raises DeviceError for others."""
    return CupyOps(device, precision)


class CupyOps(PooledOps):
    """One GPU at one precision; see the module's text."""

    name = "cupy"
    row_block = 1
    tile_rows = 16  # query rows of one attention tile
    graphs = False

    def __init__(self, device: DeviceFacts, precision: str, max_batch_tokens: int = 16384) -> None:
        precision = "float16" if precision == "auto" else precision
        if precision not in STORAGES:
            raise DeviceError(f"precision on a GPU: expected auto, {', '.join(STORAGES)}, got {precision!r}")
        self.device, self.precision, self.max_batch_tokens = device, precision, max_batch_tokens
        self.architecture = "sm_90a" if device.architecture == "sm_90" else device.architecture
        self.stored = STORED[precision]
        self.compute_units, self.blocks = device.compute_units, 8 * device.compute_units
        self.chosen = describe_choice(self.architecture, precision)
        self.kernel_set = f"{self.name}: CuPy {cp.__version__}, {compiler_version()}, {self.architecture}"
        self.modules: dict[tuple[str, tuple[tuple[str, int], ...]], KernelModule] = {}
        self.rotaries: dict[object, RotaryAngles] = {}

    def embed(
        self,
        word: np.ndarray,
        position: np.ndarray | None = None,
        token_type: np.ndarray | None = None,
        norm: NormWeights | None = None,
        position_offset: int = 0,
    ) -> Callable[[GpuBatch], DeviceArray]:
        width, whole = word.shape[1], position is not None and token_type is not None and norm is not None
        places = None if position is None else position[position_offset:]
        tables = [None if table is None else self._store(table) for table in (word, places, token_type)]
        vectors = [None, None, 0.0] if norm is None else [float32(norm.gamma), vector_or_zeros(norm.beta, width), float(norm.eps)]
        kernel = self._module("cupy/layer_norm.cu", WIDTH=width).kernel("embed_layer_norm" if whole else "embed", (32, ROWS_PER_BLOCK))

        def run(batch: GpuBatch) -> DeviceArray:
            rows = batch.room.rows
            out = self._empty(rows, width)
            kernel((self._row_blocks(kernel, rows),), batch.input_ids, batch.position_ids, *tables, *vectors, out, rows)
            return out

        return run

    def linear(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None = None) -> Linear:
        outputs, inputs = weight.shape
        stored, shift = self._store(weight), None if bias is None else float32(bias)
        epilogue = self._epilogue(outputs, activation)
        needs_epilogue = bias is not None or activation is not None

        def run(x: DeviceArray, residual: DeviceArray | None = None) -> DeviceArray:
            rows = len(x)
            out = self._multiply(self._padded(x, inputs), stored, rows)
            return epilogue(out, shift, residual, out) if needs_epilogue or residual is not None else out

        return run

    def glu(
        self, gate: np.ndarray, up: np.ndarray, gate_bias: np.ndarray | None = None, up_bias: np.ndarray | None = None, activation: str = "silu"
    ) -> Callable[[DeviceArray], DeviceArray]:
        inner = len(gate)
        product, shift = self.linear(np.concatenate([gate, up]), None), gate_biases(gate_bias, up_bias, inner)
        kernel = self._module("cupy/gate.cu", WIDTH=inner, ACTIVATION=activation_number(activation)).kernel("gate", (256,))
        bias = None if shift is None else float32(shift)

        def run(x: DeviceArray) -> DeviceArray:
            both, out = product(x), self._empty(len(x), inner)
            kernel((2 * self.blocks,), both, bias, out, len(x))
            return out

        return run

    def add_layer_norm(self, gamma: np.ndarray, beta: np.ndarray | None, eps: float) -> Callable[[DeviceArray, DeviceArray | None], DeviceArray]:
        width = len(gamma)
        scale, shift = float32(gamma), vector_or_zeros(beta, width)
        kernel = self._module("cupy/layer_norm.cu", WIDTH=width).kernel("add_layer_norm", (32, ROWS_PER_BLOCK))

        def run(x: DeviceArray, residual: DeviceArray | None = None) -> DeviceArray:
            kernel((self._row_blocks(kernel, len(x)),), x, residual, scale, shift, float(eps), x, len(x))
            return x

        return run

    def sum_and_layer_norm(
        self, gamma: np.ndarray, beta: np.ndarray | None, eps: float
    ) -> Callable[[DeviceArray, DeviceArray], tuple[DeviceArray, DeviceArray]]:
        width = len(gamma)
        scale, shift = float32(gamma), vector_or_zeros(beta, width)
        kernel = self._module("cupy/layer_norm.cu", WIDTH=width).kernel("sum_layer_norm", (32, ROWS_PER_BLOCK))

        def run(x: DeviceArray, residual: DeviceArray) -> tuple[DeviceArray, DeviceArray]:
            kernel((self._row_blocks(kernel, len(x)),), x, residual, scale, shift, float(eps), residual, x, len(x))
            return residual, x

        return run

    def attention(
        self, num_heads: int, head_dim: int, *, rotary: Rotary | None = None, window: int | None = None, bias: np.ndarray | None = None
    ) -> Callable[[DeviceArray, GpuBatch], DeviceArray]:
        if head_dim > LARGEST_HEAD:
            raise DeviceError(f"attention on this GPU backend: head dimensions up to {LARGEST_HEAD}, got {head_dim}; use device='cpu'")
        distance = distance_defines(window, bias)
        kernel = self._module("cupy/attention.cu", HEAD_DIM=head_dim, TILE_ROWS=self.tile_rows, **distance).kernel("attention", (32, 8))
        table = None if bias is None else float32(bias * np.log2(np.e))
        return self._planned_attention(kernel, num_heads, head_dim, rotary, table)

    def to_device(self, batch: PackedBatch) -> GpuBatch:
        tiles = attention_tiles(batch, self.tile_rows)
        room = BatchRoom.of(batch, len(tiles))
        block = np.empty(room.size, np.int32)
        room.fill(block, batch, tiles)
        return GpuBatch.on(cp.asarray(block), room)

    def from_host(self, x: np.ndarray) -> DeviceArray:
        """float32 [T, N] to Activations: what tests and benchmarks feed single operations."""
        out = self._empty(*x.shape)
        out[:] = self._store(x)
        return out

    def to_host(self, x: DeviceArray | Pooled) -> np.ndarray:
        host: np.ndarray = cp.asnumpy(x.array[: int(x.rows.get()[0])] if isinstance(x, Pooled) else x)
        if host.dtype == np.float32:
            return host
        return (host.astype(np.uint32) << 16).view(np.float32) if self.precision == "bfloat16" else host.astype(np.float32)

    def require_room(self, num_weights: int) -> None:
        needed, free = num_weights * self.stored.itemsize, self._free_bytes()
        if needed + RESERVE_BYTES > free:
            raise does_not_fit(f"a model of {num_weights:,} weights in {self.precision}", needed + RESERVE_BYTES, free)

    def program(self, forward: Callable[[GpuBatch], Pooled], longest: int = 64) -> Program:
        cp.get_default_memory_pool().free_all_blocks()  # what loading took beside the weights
        measured = 1024 if self.graphs else GEMM_ROWS
        program = GpuProgram(forward, self.tile_rows, self.max_batch_tokens, graphs=self.graphs)
        with refusing(f"a batch of {measured:,} tokens", None, self._free_bytes):
            bytes_per_row = program.measure(measured, longest)
        nominal = self.max_batch_tokens
        self.max_batch_tokens = rows_that_fit(nominal, bytes_per_row, self._free_bytes(), longest, captured=self.graphs)
        if self.max_batch_tokens < nominal:
            log.info("batches of %d rows instead of %d: %d bytes a row, %d free", self.max_batch_tokens, nominal, bytes_per_row, self._free_bytes())
        return ShrinkingProgram(program, self.max_batch_tokens, self._free_bytes)

    def _free_bytes(self) -> int:
        """Of the GPU, or of CuPy's pool where that has a limit (CUPY_GPU_MEMORY_LIMIT)."""
        free, pool = int(cp.cuda.runtime.memGetInfo()[0]), cp.get_default_memory_pool()
        return min(free + pool.free_bytes(), pool.get_limit() - pool.used_bytes()) if pool.get_limit() else free + int(pool.free_bytes())

    def _planned_attention(
        self, kernel: Kernel, num_heads: int, head_dim: int, rotary: Rotary | None, bias: DeviceArray | None
    ) -> Callable[[DeviceArray, GpuBatch], DeviceArray]:
        """bias: as this kernel reads it."""
        scale_log2, blocks = float(head_dim**-0.5 * np.log2(np.e)), self.compute_units * kernel.resident_blocks
        turn = None if rotary is None else self._turn(rotary, num_heads)
        more = () if bias is None else (bias,)

        def run(qkv: DeviceArray, batch: GpuBatch) -> DeviceArray:
            if turn is not None:
                turn(qkv, batch)
            out = self._empty(batch.room.rows, num_heads * head_dim)
            kernel((blocks,), qkv, batch.tiles, batch.num_tiles, out, num_heads, scale_log2, *more)
            return out

        return run

    def _turn(self, rotary: Rotary, num_heads: int) -> Callable[[DeviceArray, GpuBatch], None]:
        """Queries and keys of qkv [T, 3E] turned in place."""
        angles = self._angles(rotary)
        kernel = angles.module.kernel("turn", (256,))

        def run(qkv: DeviceArray, batch: GpuBatch) -> None:
            table, positions = angles.of(batch)
            kernel((2 * self.blocks,), qkv, table, positions, len(qkv), num_heads)

        return run

    def _angles(self, rotary: Rotary) -> RotaryAngles:
        """Layers that turn alike share their angles."""
        key = rotary.inverse_frequencies.tobytes(), rotary.dynamic
        if key not in self.rotaries:
            module = self._module("cupy/rotary.cu", HEAD_DIM=2 * len(rotary.inverse_frequencies))
            self.rotaries[key] = RotaryAngles(rotary, module, self.blocks)
        return self.rotaries[key]

    def _row_blocks(self, kernel: Kernel, rows: int) -> int:
        """Blocks of the LayerNorm kernels: as many as are resident at once, or fewer where there are not enough rows."""
        return min(-(-rows // ROWS_PER_BLOCK), self.compute_units * kernel.resident_blocks)

    def _epilogue(self, width: int, activation: str | None) -> Callable[..., DeviceArray]:
        """activation(x + bias) + residual on [T, width], by a kernel of its own."""
        kernel = self._module("cupy/epilogue.cu", WIDTH=width, ACTIVATION=activation_number(activation)).kernel("epilogue", (256,))

        def run(x: DeviceArray, bias: DeviceArray | None, residual: DeviceArray | None, out: DeviceArray) -> DeviceArray:
            kernel((2 * self.blocks,), x, bias, residual, out, len(x))
            return out

        return run

    def _multiply(self, x: DeviceArray, weight: DeviceArray, rows: int) -> DeviceArray:
        """x [T', K] @ weight[N, K]^T -> [rows, N], GEMM_ROWS at a time; T' reaches up to the next multiple of them."""
        (outputs, inputs), kind = weight.shape, CUDA_TYPES[self.precision]
        out = self._empty(rows, outputs)
        one, zero = np.array([1.0], np.float32), np.array([0.0], np.float32)
        item = self.stored.itemsize
        for start in range(0, rows, GEMM_ROWS):
            cublas.gemmEx(
                cp.cuda.device.get_cublas_handle(), OP_T, OP_N, outputs, GEMM_ROWS, inputs, one.ctypes.data,
                weight.data.ptr, kind, inputs, x.data.ptr + start * inputs * item, kind, inputs, zero.ctypes.data,
                out.data.ptr + start * outputs * item, kind, outputs, COMPUTE_32F, DEFAULT_ALGORITHM,
            )  # fmt: skip
        return out

    def _empty(self, rows: int, columns: int, dtype: Any = None) -> DeviceArray:
        """[rows, columns], the memory behind it reaching up to a multiple of GEMM_ROWS rows."""
        capacity = -(-rows // GEMM_ROWS) * GEMM_ROWS if dtype is None and not self.graphs else rows
        return cp.empty((capacity, columns), self.stored if dtype is None else dtype)[:rows]

    def _padded(self, x: DeviceArray, columns: int) -> DeviceArray:
        """x itself where its memory reaches far enough for whole blocks of GEMM_ROWS."""
        needed = -(-len(x) // GEMM_ROWS) * GEMM_ROWS * columns * x.dtype.itemsize
        if x.data.mem.size - (x.data.ptr - x.data.mem.ptr) >= needed:
            return x
        out = self._empty(len(x), columns)
        out[:] = x
        return out

    def _store(self, weight: np.ndarray) -> DeviceArray:
        """A weight in the stored type on the GPU, rows one after another; converted there, a stretch of rows at a time."""
        weight = np.ascontiguousarray(weight)
        with refusing(f"a weight {list(weight.shape)}", weight.size * self.stored.itemsize, self._free_bytes):
            if weight.dtype.name == self.precision:
                return cp.asarray(weight.view(self.stored))
            if self.precision == "float32":
                return cp.asarray(weight.astype(np.float32, copy=False))
            out = cp.empty(weight.shape, self.stored)
            convert = self._module("cupy/convert.cu").kernel("convert", (256,))
            rows = max(1, CONVERTED_BYTES // max(1, weight[:1].nbytes))
            for first in range(0, len(weight), rows):
                source = cp.asarray(weight[first : first + rows].astype(np.float32, copy=False))
                convert((2 * self.blocks,), source, out[first : first + rows], np.int64(source.size))
            return out

    def _module(self, name: str, **defines: int) -> KernelModule:
        key = name, tuple(sorted(defines.items()))
        if key not in self.modules:
            self.modules[key] = KernelModule(name, {"STORAGE": STORAGES[self.precision], **defines}, self.architecture)
        return self.modules[key]


def distance_defines(window: int | None, bias: np.ndarray | None) -> dict[str, int]:
    """What the attention kernels are compiled with. bias: [H, 2R+1]."""
    return ({} if window is None else {"WINDOW": window}) | ({} if bias is None else {"BIAS_RADIUS": bias.shape[1] // 2})


def gate_biases(gate: np.ndarray | None, up: np.ndarray | None, inner: int) -> np.ndarray | None:
    """One vector [2F], or None where there is neither."""
    parts = [np.zeros(inner, np.float32) if bias is None else bias for bias in (gate, up)]
    return None if gate is None and up is None else np.concatenate(parts)
