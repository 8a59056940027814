"""What NVIDIA does better: cuBLASLt with epilogues, attention on tensor cores, erf GELU inside Hopper's own product, CUDA graphs.

Everything else is `cupy`'. Bits of a document depend on nothing but the document: each product has one algorithm for every T, without split K.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

import cupy as cp
import numpy as np

from embermill.encoder.backends.cuda import cublaslt
from embermill.encoder.backends.cuda.cublaslt import EPILOGUES, TILE_256_128, Gemm, Product
from embermill.encoder.backends.cuda.sm90_gemm import HopperGemm
from embermill.encoder.backends.cuda.sm90_gemm_norm import HopperNorm
from embermill.encoder.backends.cupy.batch import DeviceArray, GpuBatch
from embermill.encoder.backends.cupy.ops import ACTIVATIONS, STORAGES, CupyOps, DeviceFacts, _float32, _vector_or_zeros
from embermill.encoder.errors import ModelConfigError
from embermill.encoder.ops.base import Linear
from embermill.encoder.ops.rotary import Rotary

log = logging.getLogger(__name__)

UNIT_ROWS = 1024  # of a batch, for each multiprocessor: whole waves of every product (135,168 rows on 132 of them; 131,072 are 23.3 waves of BERT-base's)
TENSOR_HEADS = (32, 64, 128)
WGMMA_HEADS = (32, 64)
TILE_ROWS, KEY_ROWS = 128, 64  # of the attention kernels: query rows and keys at a time


class AttentionPlan(NamedTuple):
    """How attention_{name} of cuda/{first}_attention.cu is launched: threads of a block, stages of keys and values, crews of threads with tiles of their own.

    first: the first architecture that it runs on.
    """

    first: str
    name: str
    threads: int
    stages: int = 2
    crews: int = 1

    def shared_bytes(self, head_dim: int) -> int:
        """Each crew: two slots of queries, its stages, and 1,024 bytes for barriers."""
        return self.crews * ((2 * TILE_ROWS + self.stages * 2 * KEY_ROWS) * head_dim * 2 + 1024)


def make_ops(device: DeviceFacts, precision: str) -> CudaOps:
    return CudaOps(device, precision)


class CudaOps(CupyOps):
    """One NVIDIA card at one precision. max_batch_tokens: UNIT_ROWS for each multiprocessor unless given.

    `fused_gelu`, `fused_norm`: erf GELU, and LayerNorm, inside the product where a kernel exists for it.
    """

    name = "cuda"
    graphs = True

    def __init__(self, device: DeviceFacts, precision: str, max_batch_tokens: int | None = None, *, fused_gelu: bool = True, fused_norm: bool = True) -> None:
        super().__init__(device, precision, max_batch_tokens or UNIT_ROWS * device.compute_units)
        self.index = int(cp.cuda.Device().id)
        self.tile_rows = 16 if self.precision == "float32" else TILE_ROWS
        self.hopper = self.architecture == "sm_90a" and self.precision != "float32"
        self.fused_gelu, self.fused_norm = fused_gelu and self.hopper, fused_norm and self.hopper
        self.kernel_set += f", {cublaslt.version()}"

    def linear(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None = None) -> Linear:
        if activation not in ACTIVATIONS:
            raise ModelConfigError(f"activation: expected one of {[name for name in ACTIVATIONS if name]}, got {activation!r}")
        activation = "gelu_new" if activation == "gelu_pytorch_tanh" else activation
        outputs, inputs = weight.shape
        if activation == "gelu" and bias is not None and self.fused_gelu and HopperGemm.fits(outputs, inputs):
            return self._hopper_linear(weight, bias)
        return self._library_linear(weight, bias, activation)

    def linear_norm(
        self, weight: np.ndarray, bias: np.ndarray | None, gamma: np.ndarray, beta: np.ndarray | None, eps: float
    ) -> Callable[[DeviceArray, DeviceArray], DeviceArray]:
        if self.fused_norm and HopperNorm.fits(*weight.shape):
            return self._hopper_norm(weight, bias, gamma, beta, eps)
        return super().linear_norm(weight, bias, gamma, beta, eps)

    def attention(
        self, num_heads: int, head_dim: int, *, rotary: Rotary | None = None, window: int | None = None, bias: np.ndarray | None = None
    ) -> Callable[[DeviceArray, GpuBatch], DeviceArray]:
        plain = rotary is None and window is None and bias is None
        if self.precision == "float32" or head_dim not in TENSOR_HEADS or not plain:
            return super().attention(num_heads, head_dim, rotary=rotary, window=window, bias=bias)
        if self.hopper and head_dim in WGMMA_HEADS:
            return self._tensor_attention(AttentionPlan("sm90", "wgmma", threads=640, stages=4, crews=2), num_heads, head_dim)
        return self._tensor_attention(AttentionPlan("sm80", "mma", threads=256 if head_dim == 128 else 128), num_heads, head_dim)

    def _tensor_attention(self, plan: AttentionPlan, num_heads: int, head_dim: int, **defines: int) -> Callable[[DeviceArray, GpuBatch], DeviceArray]:
        module = self._module(f"cuda/{plan.first}_attention.cu", HEAD_DIM=head_dim, **defines)
        kernel = module.kernel(f"attention_{plan.name}", (plan.threads,), plan.shared_bytes(head_dim))
        return self._planned_attention(kernel, num_heads, head_dim)

    def _library_linear(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None) -> Linear:
        outputs, inputs = weight.shape
        inside = activation if (activation, bias is not None) in EPILOGUES else None
        stored, shift = self._store(weight), None if bias is None else self._store(bias)
        product = Product(outputs, inputs, self.precision, inside, self.max_batch_tokens)
        gemm = Gemm(product, stored.data.ptr, None if shift is None else shift.data.ptr, self.index, tile=self._tile(outputs))
        log.info("linear [%d, %d] %s: cuBLASLt %s", outputs, inputs, activation, gemm.facts())
        finish = self._finish(outputs, activation if inside is None else None)

        def run(x: DeviceArray, residual: DeviceArray | None = None, keep: tuple[DeviceArray, DeviceArray | None] = (stored, shift)) -> DeviceArray:
            rows = len(x)
            out = self._empty(rows, outputs)
            in_product = residual if activation is None else None
            gemm(x.data.ptr, out.data.ptr, rows, cp.cuda.get_current_stream().ptr, None if in_product is None else in_product.data.ptr)
            if activation != inside or residual is not in_product:
                finish(out, None, None if residual is in_product else residual, out)
            return out

        return run

    def _tile(self, outputs: int) -> int | None:
        """Under the power cap of a Hopper card, tiles of 256 by 128 beat the library's favourite (192 by 192) by 1 % of a whole pass; where 256 does
        not divide the outputs, they lose as much."""
        return TILE_256_128 if self.hopper and outputs % 256 == 0 else None

    def _hopper_linear(self, weight: np.ndarray, bias: np.ndarray) -> Linear:
        outputs, inputs = weight.shape
        stored, shift = self._store(weight), _float32(bias)
        gemm = HopperGemm(
            stored.data.ptr, shift.data.ptr, outputs, inputs,
            precision=self.precision, storage=STORAGES[self.precision], activation=ACTIVATIONS["gelu"], multiprocessors=self.compute_units,
        )  # fmt: skip
        log.info("linear [%d, %d] gelu: gemm_wgmma %s", outputs, inputs, gemm.tile)
        add = self._finish(outputs, None)

        def run(x: DeviceArray, residual: DeviceArray | None = None, keep: tuple[DeviceArray, DeviceArray] = (stored, shift)) -> DeviceArray:
            out = self._empty(len(x), outputs)
            gemm(x.data.ptr, out.data.ptr, len(x), cp.cuda.get_current_stream().ptr)
            return out if residual is None else add(out, None, residual, out)

        return run

    def _hopper_norm(
        self, weight: np.ndarray, bias: np.ndarray | None, gamma: np.ndarray, beta: np.ndarray | None, eps: float
    ) -> Callable[[DeviceArray, DeviceArray], DeviceArray]:
        outputs, inputs = weight.shape
        stored, vectors = self._store(weight), [_vector_or_zeros(bias, outputs), _float32(gamma), _vector_or_zeros(beta, outputs)]
        shift, scale, offset = (vector.data.ptr for vector in vectors)
        gemm = HopperNorm(
            stored.data.ptr, shift, scale, offset, eps, outputs, inputs,
            precision=self.precision, storage=STORAGES[self.precision], multiprocessors=self.compute_units,
        )  # fmt: skip
        log.info("linear [%d, %d] and LayerNorm: gemm_norm %s", outputs, inputs, gemm.tile)

        def run(x: DeviceArray, residual: DeviceArray, keep: tuple[DeviceArray, list[DeviceArray]] = (stored, vectors)) -> DeviceArray:
            out = self._empty(len(x), outputs)
            gemm(x.data.ptr, residual.data.ptr, out.data.ptr, len(x), cp.cuda.get_current_stream().ptr)
            return out

        return run
