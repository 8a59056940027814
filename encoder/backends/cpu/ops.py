"""The vocabulary in NumPy and float32, blocked so that what is worked on stays in a cache. Runs anywhere.

Fixed arithmetic per document: products are cut into blocks of `row_block` rows (see row_block.py), everything else is computed per row or
per document, so a document's bits depend neither on its neighbours nor on the number of threads.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable

import numpy as np

from embermill.encoder.backends.cpu.activations import activation_named
from embermill.encoder.backends.cpu.attention import NumpyAttention
from embermill.encoder.backends.cpu.layer import NumpyLayer
from embermill.encoder.backends.cpu.linear import NumpyGatedLinear, NumpyLinear
from embermill.encoder.backends.cpu.norm import NumpyLayerNorm
from embermill.encoder.backends.cpu.pooling import mean_of_spans, pooling_named
from embermill.encoder.backends.cpu.row_block import Shape, invariant_block
from embermill.encoder.backends.cpu.threads import InlineProgram, ThreadedProgram, blas_name, single_threaded_blas
from embermill.encoder.backends.cpu.workspace import Workspace
from embermill.encoder.ops.base import Linear, Ops, Program
from embermill.encoder.ops.blocks import NormWeights, PostNormBlock
from embermill.encoder.ops.rotary import Rotary
from embermill.encoder.pipeline.batching import PackedBatch

log = logging.getLogger(__name__)

BATCH_TOKENS = 1536
"""Rows of one packed batch: enough to spread the packing of the weights over, few enough that the activations stay in the L3 cache."""
SMALLEST_NORM = np.float32(1e-12)


class NumpyOps(Ops):
    """float32 on the CPU. `row_block` is final once the model's linear layers are planned.

    While it or a program of it is in use, every BLAS call of this process has one thread (threads.py); closing the program gives the others back.
    """

    name = "numpy"
    precision = "float32"

    def __init__(self, threads: int = 1, max_batch_tokens: int = BATCH_TOKENS) -> None:
        self._give_blas_back = single_threaded_blas.hold()
        weakref.finalize(self, self._give_blas_back)  # of ops that no program was made of
        self.threads = threads
        self.row_block = 1
        self.max_batch_tokens = max_batch_tokens
        self.kernel_set = f"numpy {np.__version__}, {blas_name()}"
        self._shapes: set[Shape] = set()  # of every planned weight
        self._workspace = Workspace()

    def embed(
        self,
        word: np.ndarray,
        position: np.ndarray | None = None,
        token_type: np.ndarray | None = None,
        norm: NormWeights | None = None,
        position_offset: int = 0,
    ) -> Callable[[PackedBatch], np.ndarray]:
        words = _float32(word)
        shift = None if token_type is None else _float32(token_type)
        places = None if position is None else _float32(position)[position_offset:]
        if places is not None and shift is not None:
            places, shift = places + shift, None
        layer_norm = None if norm is None else NumpyLayerNorm(*norm, shift)

        def run(batch: PackedBatch) -> np.ndarray:
            x: np.ndarray = words[batch.input_ids]
            added = None if places is None else places[batch.position_ids]
            if layer_norm is not None:
                return layer_norm(x, added)
            for term in (added, shift):
                if term is not None:
                    x += term
            return x

        return run

    def linear(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None = None) -> Linear:
        linear = NumpyLinear(weight, bias, activation, self._workspace)
        self._keep_rows_independent(linear)
        return linear

    def glu(
        self, gate: np.ndarray, up: np.ndarray, gate_bias: np.ndarray | None = None, up_bias: np.ndarray | None = None, activation: str = "silu"
    ) -> Callable[[np.ndarray], np.ndarray]:
        gated = NumpyGatedLinear(gate, up, gate_bias, up_bias, activation, self._workspace)
        for product in gated.products:
            self._keep_rows_independent(product)
        return gated

    def add_layer_norm(self, gamma: np.ndarray, beta: np.ndarray | None, eps: float) -> Callable[[np.ndarray, np.ndarray | None], np.ndarray]:
        return NumpyLayerNorm(gamma, beta, eps)

    def sum_and_layer_norm(
        self, gamma: np.ndarray, beta: np.ndarray | None, eps: float
    ) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        norm = NumpyLayerNorm(gamma, beta, eps)

        def run(x: np.ndarray, residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            x += residual
            return x, norm(x)

        return run

    def attention(
        self, num_heads: int, head_dim: int, *, rotary: Rotary | None = None, window: int | None = None, bias: np.ndarray | None = None
    ) -> Callable[[np.ndarray, PackedBatch], np.ndarray]:
        return NumpyAttention(num_heads, head_dim, self._workspace, rotary=rotary, window=window, bias=bias)

    def recognize(self, block: object) -> Callable[[np.ndarray, PackedBatch], np.ndarray] | None:
        if not isinstance(block, PostNormBlock):
            return None
        layer = NumpyLayer(block, self._workspace)
        for product in layer.products:
            self._keep_rows_independent(product)
        return layer

    def segment_pool(self, kind: str) -> Callable[[np.ndarray, PackedBatch], np.ndarray]:
        return pooling_named(kind)

    def span_pool(self) -> Callable[[np.ndarray, PackedBatch], np.ndarray]:
        return mean_of_spans

    def dense(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None) -> Callable[[np.ndarray], np.ndarray]:
        stored = np.ascontiguousarray(_float32(weight).T)
        shift = None if bias is None else _float32(bias)
        activate = activation_named(activation)

        def run(x: np.ndarray) -> np.ndarray:
            y = np.ascontiguousarray((x[:, None, :] @ stored)[:, 0])  # a stack of one-row products: no row can meet another
            if shift is not None:
                y += shift
            if activate is not None:
                activate(y, self._workspace)
            return y

        return run

    def layer_norm(self, eps: float) -> Callable[[np.ndarray], np.ndarray]:
        def run(x: np.ndarray) -> np.ndarray:
            return NumpyLayerNorm(np.ones(x.shape[1], np.float32), None, eps)(x)

        return run

    def truncate(self, dimensions: int) -> Callable[[np.ndarray], np.ndarray]:
        return lambda x: np.ascontiguousarray(x[:, :dimensions])

    def l2_normalize(self, x: np.ndarray) -> np.ndarray:
        norm = np.sqrt(np.vecdot(x, x))
        y: np.ndarray = x / np.maximum(norm, SMALLEST_NORM)[:, None]
        return y

    def to_device(self, batch: PackedBatch) -> PackedBatch:
        return batch

    def to_host(self, x: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(x, np.float32)

    def program(self, forward: Callable[[PackedBatch], np.ndarray], longest: int = 64) -> Program:
        def run(batch: PackedBatch) -> np.ndarray:
            return self.to_host(forward(batch))

        return InlineProgram(run, self._give_blas_back) if self.threads == 1 else ThreadedProgram(run, self.threads, self._give_blas_back)

    def _keep_rows_independent(self, linear: NumpyLinear) -> None:
        """Widens `row_block` until products with this weight keep a row's bits too; without any such block every document goes alone."""
        inner, columns = linear.weight.shape
        shape: Shape = (inner, columns) if linear.weight.flags.c_contiguous else (inner, columns, "F")
        if shape in self._shapes:
            return
        self._shapes.add(shape)
        block = invariant_block(self._shapes, BATCH_TOKENS)
        if block is None:
            log.warning("%s gives a row other bits at other places of a product, whatever the block: one document at a time", self.kernel_set)
            self.row_block = self.max_batch_tokens = 1
        else:
            self.row_block = block


def _float32(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)

