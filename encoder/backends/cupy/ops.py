"""The portable GPU backend: CuPy, its GEMM, and the kernels of kernels/portable. The same text on CUDA (sm_80 up) and ROCm; correct first.

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
from embermill.encoder.backends.cupy.compiler import compiler_version
from embermill.encoder.backends.cupy.kernel import Kernel, KernelModule
from embermill.encoder.backends.cupy.memory import RESERVE_BYTES, does_not_fit, refusing, rows_that_fit
from embermill.encoder.backends.cupy.program import GpuProgram
from embermill.encoder.backends.cupy.shrinking import ShrinkingProgram
from embermill.encoder.errors import DeviceError, ModelConfigError
from embermill.encoder.ops.base import POOLINGS, Linear, Ops, Program
from embermill.encoder.ops.blocks import NormWeights
from embermill.encoder.ops.rotary import Rotary
from embermill.encoder.pipeline.batching import PackedBatch

log = logging.getLogger(__name__)

GEMM_ROWS = 4096
CONVERTED_BYTES = 256 << 20  # of a weight on the GPU in the type of its file, beside what it becomes: the embeddings of XLM-R-large are 1 GB in float32
STORAGES = {"float32": 32, "float16": 16, "bfloat16": 116}
STORED: dict[str, np.dtype[Any]] = {"float32": np.dtype(np.float32), "float16": np.dtype(np.float16), "bfloat16": np.dtype(np.uint16)}
CUDA_TYPES = {"float32": 0, "float16": 2, "bfloat16": 14}  # cudaDataType; CuPy turns them into hipBLAS's
ACTIVATIONS = {None: 0, "gelu": 1, "gelu_new": 2, "gelu_pytorch_tanh": 2, "relu": 3, "tanh": 4, "silu": 5}
KERNEL_POOLINGS = {"cls": 0, "mean": 1, "max": 2, "last": 3}
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


class CupyOps(Ops):
    """One card at one precision; see the module's text."""

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
        self.kernel_set = f"{self.name}: CuPy {cp.__version__}, {compiler_version()}, {self.architecture}"
        self.modules: dict[tuple[str, tuple[tuple[str, int], ...]], KernelModule] = {}

    def embed(
        self,
        word: np.ndarray,
        position: np.ndarray | None = None,
        token_type: np.ndarray | None = None,
        norm: NormWeights | None = None,
        position_offset: int = 0,
    ) -> Callable[[GpuBatch], DeviceArray]:
        if norm is None:
            raise self._missing("embeddings without a LayerNorm")
        width = word.shape[1]
        zeros = np.zeros((1, width), np.float32)
        places = zeros if position is None else position[position_offset:]
        tables = [self._store(table) for table in (word, places, zeros[0] if token_type is None else token_type)]
        scale, shift, eps = _float32(norm.gamma), _vector_or_zeros(norm.beta, width), norm.eps
        kernel = self._module("cupy/layer_norm.cu", WIDTH=width).kernel("embed_layer_norm", (32, ROWS_PER_BLOCK))

        def run(batch: GpuBatch) -> DeviceArray:
            rows = batch.room.rows
            out = self._empty(rows, width)
            position_ids = cp.zeros(rows, np.int32) if position is None else batch.position_ids
            kernel((self._row_blocks(kernel, rows),), batch.input_ids, position_ids, *tables, scale, shift, float(eps), out, rows)
            return out

        return run

    def linear(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None = None) -> Linear:
        outputs, inputs = weight.shape
        stored, shift = self._store(weight), None if bias is None else _float32(bias)
        finish = self._finish(outputs, activation)
        needs_finish = bias is not None or ACTIVATIONS[activation] != 0

        def run(x: DeviceArray, residual: DeviceArray | None = None) -> DeviceArray:
            rows = len(x)
            out = self._multiply(self._padded(x, inputs), stored, rows)
            return finish(out, shift, residual, out) if needs_finish or residual is not None else out

        return run

    def glu(
        self, gate: np.ndarray, up: np.ndarray, gate_bias: np.ndarray | None = None, up_bias: np.ndarray | None = None, activation: str = "silu"
    ) -> Callable[[DeviceArray], DeviceArray]:
        if self.precision == "bfloat16":
            raise self._missing("gated layers in bfloat16")
        activated, factor = self.linear(gate, gate_bias, activation), self.linear(up, up_bias)

        def run(x: DeviceArray) -> DeviceArray:
            y = activated(x)
            y *= factor(x)
            return y

        return run

    def add_layer_norm(self, gamma: np.ndarray, beta: np.ndarray | None, eps: float) -> Callable[[DeviceArray, DeviceArray | None], DeviceArray]:
        norm = self._layer_norm(gamma, beta, eps)

        def run(x: DeviceArray, residual: DeviceArray | None = None) -> DeviceArray:
            return norm(x, residual, x)

        return run

    def sum_and_layer_norm(
        self, gamma: np.ndarray, beta: np.ndarray | None, eps: float
    ) -> Callable[[DeviceArray, DeviceArray], tuple[DeviceArray, DeviceArray]]:
        width = len(gamma)
        norm, add = self._layer_norm(gamma, beta, eps), self._finish(width, None)

        def run(x: DeviceArray, residual: DeviceArray) -> tuple[DeviceArray, DeviceArray]:
            total = add(x, None, residual, x)
            return total, norm(total, None, self._empty(len(x), width))

        return run

    def _layer_norm(self, gamma: np.ndarray, beta: np.ndarray | None, eps: float) -> Callable[[DeviceArray, DeviceArray | None, DeviceArray], DeviceArray]:
        """(x, residual, out) to LayerNorm(x + residual) in out, which may be x."""
        width = len(gamma)
        scale, shift = _float32(gamma), _vector_or_zeros(beta, width)
        kernel = self._module("cupy/layer_norm.cu", WIDTH=width).kernel("add_layer_norm", (32, ROWS_PER_BLOCK))

        def run(x: DeviceArray, residual: DeviceArray | None, out: DeviceArray) -> DeviceArray:
            kernel((self._row_blocks(kernel, len(x)),), x, residual, scale, shift, float(eps), out, len(x))
            return out

        return run

    def attention(
        self, num_heads: int, head_dim: int, *, rotary: Rotary | None = None, window: int | None = None, bias: np.ndarray | None = None
    ) -> Callable[[DeviceArray, GpuBatch], DeviceArray]:
        if head_dim > LARGEST_HEAD:
            raise DeviceError(f"attention on this GPU backend: head dimensions up to {LARGEST_HEAD}, got {head_dim}; use device='cpu'")
        if rotary is not None or window is not None or bias is not None:
            raise self._missing("attention with rotary positions, a window or a bias")
        kernel = self._module("cupy/attention.cu", HEAD_DIM=head_dim, TILE_ROWS=self.tile_rows).kernel("attention", (32, 8))
        return self._planned_attention(kernel, num_heads, head_dim)

    def segment_pool(self, kind: str) -> Callable[[DeviceArray, GpuBatch], Pooled]:
        if kind not in POOLINGS:
            raise ModelConfigError(f"pooling: expected one of {', '.join(POOLINGS)}, got {kind!r}")
        if kind not in KERNEL_POOLINGS:
            raise self._missing(f"pooling {kind}")

        def run(hidden_states: DeviceArray, batch: GpuBatch) -> Pooled:
            width = hidden_states.shape[1]
            kernel = self._module("cupy/pooling.cu", WIDTH=width, POOLING=KERNEL_POOLINGS[kind]).kernel("segment_pool", (64, 4))
            out = self._empty(batch.room.sequences, width, np.float32)
            kernel((self.blocks,), hidden_states, batch.cu_seqlens, batch.num_sequences, out)
            return Pooled(out, batch.num_sequences)

        return run

    def dense(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None) -> Callable[[Pooled], Pooled]:
        outputs, inputs = weight.shape
        table, shift = _float32(weight), None if bias is None else _float32(bias)
        kernel = self._module("cupy/pooling.cu", WIDTH=inputs, ACTIVATION=ACTIVATIONS[activation]).kernel("dense", (32, 8))

        def run(x: Pooled) -> Pooled:
            out = self._empty(len(x.array), outputs, np.float32)
            kernel((min(outputs, 1024), self.blocks // 8), x.array, table, shift, x.rows, out, outputs)
            return Pooled(out, x.rows)

        return run

    def layer_norm(self, eps: float) -> Callable[[Pooled], Pooled]:
        raise self._missing("LayerNorm of whole vectors")

    def truncate(self, dimensions: int) -> Callable[[Pooled], Pooled]:
        def run(x: Pooled) -> Pooled:
            kernel = self._module("cupy/pooling.cu", WIDTH=dimensions).kernel("truncate", (32, ROWS_PER_BLOCK))
            out = self._empty(len(x.array), dimensions, np.float32)
            kernel((self.blocks,), x.array, x.rows, out, x.array.shape[1])
            return Pooled(out, x.rows)

        return run

    def l2_normalize(self, x: Pooled) -> Pooled:
        width = x.array.shape[1]
        out = self._empty(len(x.array), width, np.float32)
        self._module("cupy/pooling.cu", WIDTH=width).kernel("l2_normalize", (32, ROWS_PER_BLOCK))((self.blocks,), x.array, x.rows, out)
        return Pooled(out, x.rows)

    def to_device(self, batch: PackedBatch) -> GpuBatch:
        tiles = attention_tiles(batch, self.tile_rows)
        room = BatchRoom(batch.num_rows, batch.num_sequences, len(tiles))
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

    def _planned_attention(self, kernel: Kernel, num_heads: int, head_dim: int) -> Callable[[DeviceArray, GpuBatch], DeviceArray]:
        scale_log2, blocks = float(head_dim**-0.5 * np.log2(np.e)), self.compute_units * kernel.resident_blocks

        def run(qkv: DeviceArray, batch: GpuBatch) -> DeviceArray:
            out = self._empty(batch.room.rows, num_heads * head_dim)
            kernel((blocks,), qkv, batch.tiles, batch.num_tiles, out, num_heads, scale_log2)
            return out

        return run

    def _missing(self, what: str) -> DeviceError:
        return DeviceError(f"{what}: not available on a GPU in this version; use device='cpu'.")

    def _row_blocks(self, kernel: Kernel, rows: int) -> int:
        """Blocks of the LayerNorm kernels: as many as are resident at once, or fewer where there are not enough rows."""
        return min(-(-rows // ROWS_PER_BLOCK), self.compute_units * kernel.resident_blocks)

    def _finish(self, width: int, activation: str | None) -> Callable[..., DeviceArray]:
        """activation(x + bias) + residual on [T, width], by a kernel of its own."""
        if activation not in ACTIVATIONS:
            raise ModelConfigError(f"activation: expected one of {[name for name in ACTIVATIONS if name]}, got {activation!r}")
        kernel = self._module("cupy/finish_linear.cu", WIDTH=width, ACTIVATION=ACTIVATIONS[activation]).kernel("finish_linear", (256,))

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


def _float32(x: np.ndarray) -> DeviceArray:
    return cp.asarray(np.ascontiguousarray(x, np.float32))


def _vector_or_zeros(vector: np.ndarray | None, width: int) -> DeviceArray:
    return _float32(np.zeros(width, np.float32) if vector is None else vector)
