"""A pre-norm layer on Hopper: each LayerNorm is taken inside the product that follows it, and what is normalised is never written.

LayerNorm(x) @ W^T = (x @ (W gamma)^T - mean * sums) / deviation + W beta, with `sums` those of the rows of W gamma: gamma goes into the weight when it is
stored, mean and deviation come from the product that made x, and the sums are those of the weight as it is stored, so no rounding of it shifts a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from embermill.encoder.backends.cuda.sm90_gemm import CHOSEN, HopperGemm
from embermill.encoder.backends.cuda.sm90_gemm_norm import HopperNorm
from embermill.encoder.backends.cupy.batch import DeviceArray, GpuBatch
from embermill.encoder.backends.cupy.ops import gate_biases
from embermill.encoder.ops.blocks import GatedMLPWeights, NormWeights, PreNormBlock

if TYPE_CHECKING:
    from embermill.encoder.backends.cuda.ops import CudaOps


class Summed(NamedTuple):
    """What flows between such layers. x: [T, E]. statistics: [T, parts, 2] float32, mean and squares of each part of a row."""

    x: DeviceArray
    statistics: DeviceArray


def fits(block: PreNormBlock) -> bool:
    """Whether the kernels take these shapes."""
    attention, mlp = block.attention, block.mlp
    if attention.rotary is None or not isinstance(mlp, GatedMLPWeights):
        return False
    outputs, inputs = attention.qkv.weight.shape
    return (
        HopperGemm.fits_rotary(outputs, inputs, attention.head_dim)
        and HopperGemm.fits_gated(*mlp.gate.weight.shape)
        and HopperNorm.fits(*attention.output.weight.shape)
        and HopperNorm.fits(*mlp.down.weight.shape)
    )


def folded(weight: np.ndarray, bias: np.ndarray | None, norm: NormWeights) -> tuple[np.ndarray, np.ndarray | None]:
    """weight [N, K] and bias [N] of the product of what `norm` normalised, before gamma and beta."""
    weight = np.asarray(weight, np.float32)
    shift = None if norm.beta is None else weight @ np.asarray(norm.beta, np.float32)
    both = [np.asarray(part, np.float32) for part in (bias, shift) if part is not None]
    return weight * np.asarray(norm.gamma, np.float32), sum(both[1:], both[0]) if both else None


def whole_tiles(vector: np.ndarray) -> np.ndarray:
    """float32, with zeros up to the end of the last tile of the product whose outputs it belongs to."""
    return np.concatenate([vector, np.zeros(CHOSEN.whole(len(vector)) - len(vector))]).astype(np.float32)


class HopperPreNormLayer:
    """(x, batch) to x + W_o attention(LayerNorm(x)) + W_down mlp(...); x is `Summed`, or, before the first layer, [T, E]."""

    def __init__(self, ops: CudaOps, block: PreNormBlock) -> None:
        attention, mlp = block.attention, block.mlp
        assert attention.rotary is not None and isinstance(mlp, GatedMLPWeights)
        self.qkv = ops.hopper_turned(np.asarray(attention.qkv.weight), attention.qkv.bias, attention.head_dim, attention.rotary, block.attention_norm)
        self.attend = ops.attention(attention.num_heads, attention.head_dim, window=attention.window, bias=attention.bias)
        self.add_attention = ops.hopper_sum(np.asarray(attention.output.weight), attention.output.bias)
        gate, up = np.asarray(mlp.gate.weight), np.asarray(mlp.up.weight)
        biases = gate_biases(mlp.gate.bias, mlp.up.bias, len(gate))
        self.gated = ops.hopper_gated(gate, up, biases, mlp.gate.activation or "silu", block.mlp_norm)
        self.add_mlp = ops.hopper_sum(np.asarray(mlp.down.weight), mlp.down.bias)

    def __call__(self, x: Summed | DeviceArray, batch: GpuBatch) -> Summed:
        y = self.add_attention(self.attend(self.qkv(x, batch), batch), x)
        return self.add_mlp(self.gated(y), y)
