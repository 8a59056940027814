"""The vocabulary by compiled functions, where paths.py has some for this processor: products in float32, bfloat16 or int8, and attention and LayerNorm in
float32. Without them NumPy computes float32 as ops.py has it, and the other two with quantized.py.

What flows between parts is float32 too: each product brings its rows to 8 or 16 bits itself, with a scale for each row (token) and each output, never for a
batch. bfloat16 differs between processors in its last bits, as float32 does: AMX and AVX-512 BF16 add pairs and take what is below the normal numbers
for 0, NumPy adds in its BLAS's own order. The sums of int8 are the same whole numbers everywhere; what is made of them in float32 may differ in its last bit
between NumPy and the compiled functions, and between their two widths of vectors.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import numpy as np

from embermill.encoder.backends.cpu.attention import NumpyAttention
from embermill.encoder.backends.cpu.compiled.library import load_library, processor_features
from embermill.encoder.backends.cpu.compiled.linear import CompiledLinear
from embermill.encoder.backends.cpu.compiled.paths import choose_path
from embermill.encoder.backends.cpu.compiled.rows import CompiledAttention, CompiledLayerNorm
from embermill.encoder.backends.cpu.norm import NumpyLayerNorm
from embermill.encoder.backends.cpu.ops import BATCH_TOKENS, NumpyOps
from embermill.encoder.backends.cpu.quantized import QuantizedLinear, RoundedLinear
from embermill.encoder.ops.base import Linear
from embermill.encoder.ops.blocks import AttentionWeights, GatedMLPWeights, LinearWeights, MLPWeights, PostNormBlock
from embermill.encoder.ops.rotary import Rotary
from embermill.encoder.pipeline.batching import PackedBatch

log = logging.getLogger(__name__)

FEED_FORWARD_ROWS = 192
"""Rows whose intermediate values exist at a time, so that they stay in the L2 cache."""
COMPILED_BATCH_TOKENS = 768


class IntoLinear(Linear, Protocol):
    """A product that can be written to memory of the caller's."""

    def into(self, y: np.ndarray, x: np.ndarray) -> None: ...


def open_path(precision: str, threads: int = 1, features: frozenset[str] | None = None) -> NumpyOps:
    """The operations of a precision on this processor. features: as PathOps has them."""
    ops = PathOps(precision, threads, features)
    if precision != "float32" or ops.path.name:
        return ops
    plain = NumpyOps(threads)
    plain.chosen = ops.chosen
    return plain


class PathOps(NumpyOps):
    """float32, bfloat16 or int8 on the CPU. features: those of the processor, None to ask it."""

    def __init__(self, precision: str, threads: int = 1, features: frozenset[str] | None = None) -> None:
        built = load_library() is not None
        self.path = choose_path(precision, processor_features() if features is None else features, built)
        super().__init__(threads, COMPILED_BATCH_TOKENS if self.path.name else BATCH_TOKENS)
        self.precision = precision
        words = f"{precision} by {self.path.words}"
        self.chosen = f"{words} on the CPU: {self.path.why}"
        if not self.path.name and precision != "float32":
            log.warning("%s: it will be no faster than float32", self.chosen)
        self.kernel_set = f"{words}, {self.kernel_set}"

    def linear(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None = None) -> IntoLinear:
        weight = np.asarray(weight, np.float32)
        if self.path.name:
            return CompiledLinear(self.path, weight, bias, activation, self._workspace)
        if self.precision == "int8":
            return QuantizedLinear(weight, bias, activation, self._workspace)
        rounded = RoundedLinear(weight, bias, activation, self._workspace)
        self._keep_rows_independent(rounded)
        return rounded

    def glu(
        self, gate: np.ndarray, up: np.ndarray, gate_bias: np.ndarray | None = None, up_bias: np.ndarray | None = None, activation: str = "silu"
    ) -> Callable[[np.ndarray], np.ndarray]:
        return _Gated(self, self.linear(gate, gate_bias, activation), self.linear(up, up_bias), len(gate))

    def add_layer_norm(self, gamma: np.ndarray, beta: np.ndarray | None, eps: float) -> NumpyLayerNorm | CompiledLayerNorm:
        return CompiledLayerNorm(self.path, gamma, beta, eps) if self.path.name else NumpyLayerNorm(gamma, beta, eps)

    def attention(
        self, num_heads: int, head_dim: int, *, rotary: Rotary | None = None, window: int | None = None, bias: np.ndarray | None = None
    ) -> NumpyAttention | CompiledAttention:
        if self.path.name and rotary is None and window is None and bias is None:
            return CompiledAttention(self.path, num_heads, head_dim, self._workspace)
        return NumpyAttention(num_heads, head_dim, self._workspace, rotary=rotary, window=window, bias=bias)

    def recognize(self, block: object) -> Callable[[np.ndarray, PackedBatch], np.ndarray] | None:
        return PathLayer(self, block) if isinstance(block, PostNormBlock) else None


class _Gated:
    """activation(gate x) * (up x), [T, F]."""

    def __init__(self, ops: PathOps, gate: IntoLinear, up: IntoLinear, columns: int) -> None:
        self.gate, self.up, self.columns, self.workspace = gate, up, columns, ops._workspace

    def __call__(self, x: np.ndarray) -> np.ndarray:
        y = np.empty((len(x), self.columns), np.float32)
        self.into(y, x)
        return y

    def into(self, y: np.ndarray, x: np.ndarray) -> None:
        factor = self.workspace.array("gated factor", *y.shape)
        self.gate.into(y, x)
        self.up.into(factor, x)
        y *= factor


class PathLayer:
    """A whole post-norm layer over memory that is kept: (hidden_states [T, E], batch) to a new array [T, E]."""

    def __init__(self, ops: PathOps, block: PostNormBlock) -> None:
        attention, mlp = block.attention, block.mlp
        self.workspace = ops._workspace
        self.qkv, self.attention_output = _product(ops, attention.qkv), _product(ops, attention.output)
        self.attention = _attention(ops, attention)
        self.attention_norm, self.output_norm = ops.add_layer_norm(*block.attention_norm), ops.add_layer_norm(*block.mlp_norm)
        self.intermediate, self.inner_columns = _mlp(ops, mlp), mlp.up.weight.shape[0]
        self.output = _product(ops, mlp.down)

    def __call__(self, hidden_states: np.ndarray, batch: PackedBatch) -> np.ndarray:
        rows, hidden_size = hidden_states.shape
        qkv, context = self.workspace.array("qkv", rows, 3 * hidden_size), self.workspace.array("context", rows, hidden_size)
        result = np.empty_like(hidden_states)
        self.qkv.into(qkv, hidden_states)
        self.attention.into(context, qkv, batch)
        self.attention_output.into(result, context)
        self.attention_norm.into(result, result, hidden_states)
        for first in range(0, rows, FEED_FORWARD_ROWS):
            some = result[first : first + FEED_FORWARD_ROWS]
            inner = self.workspace.array("intermediate", len(some), self.inner_columns)
            outer = self.workspace.array("output", *some.shape)
            self.intermediate.into(inner, some)
            self.output.into(outer, inner)
            self.output_norm.into(some, outer, some)
        return result


def _product(ops: PathOps, weights: LinearWeights) -> IntoLinear:
    return ops.linear(np.asarray(weights.weight), weights.bias, weights.activation)


def _attention(ops: PathOps, weights: AttentionWeights) -> NumpyAttention | CompiledAttention:
    return ops.attention(weights.num_heads, weights.head_dim, rotary=weights.rotary, window=weights.window, bias=weights.bias)


def _mlp(ops: PathOps, weights: MLPWeights | GatedMLPWeights) -> IntoLinear | _Gated:
    if not isinstance(weights, GatedMLPWeights):
        return _product(ops, weights.up)
    return _Gated(ops, _product(ops, weights.gate), _product(ops, weights.up), weights.gate.weight.shape[0])
