"""What NVIDIA does better: cuBLASLt with epilogues, attention on tensor cores, erf GELU inside Hopper's own product, CUDA graphs.

Everything else is `cupy`'. Bits of a document depend on nothing but the document: each product has one algorithm for every T, without split K.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import cupy as cp
import numpy as np

from embermill.encoder.backends.cuda import cublaslt, distance_bias
from embermill.encoder.backends.cuda.architecture import limits_of
from embermill.encoder.backends.cuda.attention_plan import TILE_ROWS, AttentionPlan, plan_of
from embermill.encoder.backends.cuda.cublaslt import EPILOGUES, TILE_256_128, Gemm, Product
from embermill.encoder.backends.cuda.sm90_gemm import CHOSEN, After, HopperGemm, in_eights
from embermill.encoder.backends.cuda.sm90_gemm_norm import HopperNorm
from embermill.encoder.backends.cupy.batch import DeviceArray, GpuBatch
from embermill.encoder.backends.cupy.ops import STORAGES, CupyOps, DeviceFacts, distance_defines, gate_biases
from embermill.encoder.backends.cupy.pooled import activation_number, float32, vector_or_zeros
from embermill.encoder.ops.base import Linear
from embermill.encoder.ops.rotary import Rotary

log = logging.getLogger(__name__)

UNIT_ROWS = 1024  # of a batch, for each multiprocessor: whole waves of every product (135,168 rows on 132 of them; 131,072 are 23.3 waves of BERT-base's)


def make_ops(device: DeviceFacts, precision: str) -> CudaOps:
    return CudaOps(device, precision)


class CudaOps(CupyOps):
    """One NVIDIA GPU at one precision. max_batch_tokens: UNIT_ROWS for each multiprocessor unless given.

    `fused_gelu`, `fused_norm`, `fused_gate`, `fused_rotary`: erf GELU, LayerNorm, gates and rotary positions inside the product where a kernel exists for it.
    """

    name = "cuda"
    graphs = True

    def __init__(
        self,
        device: DeviceFacts,
        precision: str,
        max_batch_tokens: int | None = None,
        *,
        fused_gelu: bool = True,
        fused_norm: bool = True,
        fused_gate: bool = True,
        fused_rotary: bool = True,
    ) -> None:
        super().__init__(device, precision, max_batch_tokens or UNIT_ROWS * device.compute_units)
        self.index = int(cp.cuda.Device().id)
        self.tile_rows = 16 if self.precision == "float32" else TILE_ROWS
        self.hopper = self.architecture == "sm_90a" and self.precision != "float32"
        self.fused_gelu, self.fused_norm = fused_gelu and self.hopper, fused_norm and self.hopper
        self.fused_gate, self.fused_rotary = fused_gate and self.hopper, fused_rotary and self.hopper
        self.kernel_set += f", {cublaslt.version()}"

    def linear(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None = None) -> Linear:
        activation_number(activation)  # refuses an unknown name
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

    def linear_sum_norm(
        self, weight: np.ndarray, bias: np.ndarray | None, gamma: np.ndarray, beta: np.ndarray | None, eps: float
    ) -> Callable[[DeviceArray, DeviceArray], tuple[DeviceArray, DeviceArray]]:
        if self.fused_norm and HopperNorm.fits(*weight.shape):
            return self._hopper_sum_norm(weight, bias, gamma, beta, eps)
        return super().linear_sum_norm(weight, bias, gamma, beta, eps)

    def glu(
        self, gate: np.ndarray, up: np.ndarray, gate_bias: np.ndarray | None = None, up_bias: np.ndarray | None = None, activation: str = "silu"
    ) -> Callable[[DeviceArray], DeviceArray]:
        if self.fused_gate and HopperGemm.fits_gated(*gate.shape):
            return self._hopper_gated(gate, up, gate_biases(gate_bias, up_bias, len(gate)), activation)
        return super().glu(gate, up, gate_bias, up_bias, activation)

    def qkv_attention(
        self,
        weight: np.ndarray,
        qkv_bias: np.ndarray | None,
        num_heads: int,
        head_dim: int,
        *,
        rotary: Rotary | None = None,
        window: int | None = None,
        bias: np.ndarray | None = None,
    ) -> Callable[[DeviceArray, GpuBatch], DeviceArray]:
        outputs, inputs = weight.shape
        if rotary is None or not self.fused_rotary or not HopperGemm.fits_rotary(outputs, inputs, head_dim):
            return super().qkv_attention(weight, qkv_bias, num_heads, head_dim, rotary=rotary, window=window, bias=bias)
        product, attend = self._hopper_turned(weight, qkv_bias, head_dim, rotary), self.attention(num_heads, head_dim, window=window, bias=bias)
        return lambda x, batch: attend(product(x, batch), batch)

    def attention(
        self, num_heads: int, head_dim: int, *, rotary: Rotary | None = None, window: int | None = None, bias: np.ndarray | None = None
    ) -> Callable[[DeviceArray, GpuBatch], DeviceArray]:
        radius = None if bias is None else bias.shape[1] // 2
        plan = None if self.precision == "float32" else plan_of(head_dim, radius, limits_of(self.architecture), self.hopper)
        if plan is None:
            return super().attention(num_heads, head_dim, rotary=rotary, window=window, bias=bias)
        return self._tensor_attention(plan, num_heads, head_dim, rotary, window, bias)

    def _tensor_attention(
        self,
        plan: AttentionPlan,
        num_heads: int,
        head_dim: int,
        rotary: Rotary | None = None,
        window: int | None = None,
        bias: np.ndarray | None = None,
        **defines: int,
    ) -> Callable[[DeviceArray, GpuBatch], DeviceArray]:
        module = self._module(f"cuda/{plan.first}_attention.cu", HEAD_DIM=head_dim, **distance_defines(window, bias), **plan.defines, **defines)
        shared_bytes = plan.shared_bytes(head_dim, None if bias is None else bias.shape[1] // 2)
        kernel = module.kernel(f"attention_{plan.name}", (plan.threads,), shared_bytes)
        lines = None if bias is None else float32(distance_bias.bias_lines(bias, head_dim))
        return self._planned_attention(kernel, num_heads, head_dim, rotary, lines)

    def _library_linear(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None) -> Linear:
        outputs, inputs = weight.shape
        inside = activation if (activation, bias is not None) in EPILOGUES else None
        stored, shift = self._store(weight), None if bias is None else self._store(bias)
        product = Product(outputs, inputs, self.precision, inside, self.max_batch_tokens)
        gemm = Gemm(product, stored.data.ptr, None if shift is None else shift.data.ptr, self.index, tile=self._tile(outputs))
        log.info("linear [%d, %d] %s: cuBLASLt %s", outputs, inputs, activation, gemm.facts())
        epilogue = self._epilogue(outputs, activation if inside is None else None)

        def run(x: DeviceArray, residual: DeviceArray | None = None, keep: tuple[DeviceArray, DeviceArray | None] = (stored, shift)) -> DeviceArray:
            rows = len(x)
            out = self._empty(rows, outputs)
            in_product = residual if activation is None else None
            gemm(x.data.ptr, out.data.ptr, rows, cp.cuda.get_current_stream().ptr, None if in_product is None else in_product.data.ptr)
            if activation != inside or residual is not in_product:
                epilogue(out, None, None if residual is in_product else residual, out)
            return out

        return run

    def _tile(self, outputs: int) -> int | None:
        """Under the power cap of a Hopper GPU, tiles of 256 by 128 beat the library's favourite (192 by 192) by 1 % of a whole pass; where 256 does
        not divide the outputs, they lose as much."""
        return TILE_256_128 if self.hopper and outputs % 256 == 0 else None

    def _hopper_linear(self, weight: np.ndarray, bias: np.ndarray) -> Linear:
        outputs, inputs = weight.shape
        stored, shift = self._store(weight), float32(bias)
        gemm = self._hopper_gemm(stored, shift, After(activation_number("gelu")))
        log.info("linear [%d, %d] gelu: gemm_wgmma %s", outputs, inputs, gemm.tile)
        add = self._epilogue(outputs, None)

        def run(x: DeviceArray, residual: DeviceArray | None = None, keep: tuple[DeviceArray, DeviceArray] = (stored, shift)) -> DeviceArray:
            out = self._empty(len(x), outputs)
            gemm(x.data.ptr, out.data.ptr, len(x), cp.cuda.get_current_stream().ptr)
            return out if residual is None else add(out, None, residual, out)

        return run

    def _hopper_gated(self, gate: np.ndarray, up: np.ndarray, bias: np.ndarray | None, activation: str) -> Callable[[DeviceArray], DeviceArray]:
        inner = len(gate)
        stored = in_eights(self._store(gate), self._store(up))
        shift = None if bias is None else self._whole_tiles(in_eights(bias[:inner], bias[inner:]))
        gemm = self._hopper_gemm(stored, shift, After(activation_number(activation), gated=True))
        log.info("gated unit [%d, %d] %s: gemm_wgmma %s", inner, gate.shape[1], activation, gemm.tile)

        def run(x: DeviceArray, keep: tuple[DeviceArray, DeviceArray | None] = (stored, shift)) -> DeviceArray:
            out = self._empty(len(x), inner)
            gemm(x.data.ptr, out.data.ptr, len(x), cp.cuda.get_current_stream().ptr)
            return out

        return run

    def _hopper_turned(
        self, weight: np.ndarray, bias: np.ndarray | None, head_dim: int, rotary: Rotary
    ) -> Callable[[DeviceArray, GpuBatch], DeviceArray]:
        """(x [T, E], batch) to qkv [T, 3E], its queries and keys turned."""
        outputs, inputs = weight.shape
        stored, shift = self._store(weight), None if bias is None else self._whole_tiles(bias)
        gemm = self._hopper_gemm(stored, shift, After(rotary_dim=head_dim, turned=outputs // 3 * 2))
        angles = self._angles(rotary)
        log.info("linear [%d, %d] and rotary positions: gemm_wgmma %s", outputs, inputs, gemm.tile)

        def run(x: DeviceArray, batch: GpuBatch, keep: tuple[DeviceArray, DeviceArray | None] = (stored, shift)) -> DeviceArray:
            out, (table, positions) = self._empty(len(x), outputs), angles.of(batch)
            gemm(x.data.ptr, out.data.ptr, len(x), cp.cuda.get_current_stream().ptr, (table.data.ptr, 0 if positions is None else positions.data.ptr))
            return out

        return run

    def _hopper_gemm(self, weight: DeviceArray, bias: DeviceArray | None, after: After) -> HopperGemm:
        outputs, inputs = weight.shape
        return HopperGemm(
            weight.data.ptr, None if bias is None else bias.data.ptr, outputs, inputs,
            precision=self.precision, storage=STORAGES[self.precision], multiprocessors=self.compute_units, after=after,
        )  # fmt: skip

    def _whole_tiles(self, bias: np.ndarray) -> DeviceArray:
        """A bias with zeros up to the end of the last tile."""
        return float32(np.concatenate([bias, np.zeros(CHOSEN.whole(len(bias)) - len(bias), np.float32)]))

    def _hopper_norm(
        self, weight: np.ndarray, bias: np.ndarray | None, gamma: np.ndarray, beta: np.ndarray | None, eps: float
    ) -> Callable[[DeviceArray, DeviceArray], DeviceArray]:
        gemm, held = self._planned_norm(weight, bias, gamma, beta, eps, keep_sum=False)

        def run(x: DeviceArray, residual: DeviceArray, keep: list[DeviceArray] = held) -> DeviceArray:
            out = self._empty(len(x), gemm.outputs)
            gemm(x.data.ptr, residual.data.ptr, out.data.ptr, len(x), cp.cuda.get_current_stream().ptr)
            return out

        return run

    def _hopper_sum_norm(
        self, weight: np.ndarray, bias: np.ndarray | None, gamma: np.ndarray, beta: np.ndarray | None, eps: float
    ) -> Callable[[DeviceArray, DeviceArray], tuple[DeviceArray, DeviceArray]]:
        gemm, held = self._planned_norm(weight, bias, gamma, beta, eps, keep_sum=True)

        def run(x: DeviceArray, residual: DeviceArray, keep: list[DeviceArray] = held) -> tuple[DeviceArray, DeviceArray]:
            out = self._empty(len(x), gemm.outputs)
            gemm(x.data.ptr, residual.data.ptr, out.data.ptr, len(x), cp.cuda.get_current_stream().ptr, residual.data.ptr)
            return residual, out

        return run

    def _planned_norm(
        self, weight: np.ndarray, bias: np.ndarray | None, gamma: np.ndarray, beta: np.ndarray | None, eps: float, *, keep_sum: bool
    ) -> tuple[HopperNorm, list[DeviceArray]]:
        """The product, and what it holds by address only."""
        outputs, inputs = weight.shape
        held = [self._store(weight), vector_or_zeros(bias, outputs), float32(gamma), vector_or_zeros(beta, outputs)]
        stored, shift, scale, offset = (array.data.ptr for array in held)
        gemm = HopperNorm(
            stored, shift, scale, offset, eps, outputs, inputs,
            precision=self.precision, storage=STORAGES[self.precision], multiprocessors=self.compute_units, keep_sum=keep_sum,
        )  # fmt: skip
        log.info("linear [%d, %d] and LayerNorm: gemm_norm %s", outputs, inputs, gemm.tile)
        return gemm, held
