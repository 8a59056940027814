"""One small forward pass over documents alone, in company, in another order and on several threads: every vector must have the same bits.

Runs in the test process and, as `python -m tests.encoder.invariance`, in processes with another OpenBLAS kernel (OPENBLAS_CORETYPE).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from embermill.encoder.backends.cpu.ops import NumpyOps
from embermill.encoder.backends.cpu.threads import blas_name
from embermill.encoder.models.layers import PreNormLayers, plan_block
from embermill.encoder.ops.base import POOLINGS, Block, Program
from embermill.encoder.ops.blocks import AttentionWeights, GatedMLPWeights, LinearWeights, MLPWeights, NormWeights, PostNormBlock, PreNormBlock
from embermill.encoder.ops.rotary import DynamicNtk, Rotary, inverse_frequencies
from embermill.encoder.pipeline.batching import PackedBatch, pack

VOCABULARY = 211
MODELS = [  # heads, head dim, intermediate size, documents, what its layers are like
    (2, 12, 60, 40, "bert"),
    (12, 32, 1536, 8, "bert"),
    (3, 20, 77, 40, "bert"),
    (3, 20, 78, 30, "mpnet"),
    (4, 16, 100, 30, "nomic"),
    (3, 16, 70, 30, "modernbert"),
]


class Model:
    """A few random layers with every kind of pooling, Dense and L2 behind them."""

    def __init__(self, ops: NumpyOps, num_heads: int, head_dim: int, intermediate_size: int, family: str) -> None:
        self.ops = ops
        self.random = np.random.default_rng(num_heads)
        hidden_size = num_heads * head_dim
        tables = self.matrix(VOCABULARY, hidden_size), self.matrix(512, hidden_size), self.vector(hidden_size)
        embed = ops.embed(*tables, self.norm(hidden_size))
        layers = self.layers(family, num_heads, head_dim, intermediate_size)
        pools = [ops.segment_pool(kind) for kind in POOLINGS]
        dense, vectors = ops.dense(self.matrix(50, hidden_size), self.vector(50), "tanh"), ops.layer_norm(1e-5)

        def forward(batch: PackedBatch) -> np.ndarray:
            hidden_states = embed(batch)
            for layer in layers:
                hidden_states = layer(hidden_states, batch)
            return np.concatenate([ops.l2_normalize(vectors(dense(pool(hidden_states, batch)))) for pool in pools], axis=1)

        self.forward: Callable[[PackedBatch], np.ndarray] = forward

    def matrix(self, rows: int, columns: int) -> np.ndarray:
        return self.random.standard_normal((rows, columns), dtype=np.float32) * np.float32(2 * columns**-0.5)

    def vector(self, size: int) -> np.ndarray:
        return self.random.standard_normal(size, dtype=np.float32)

    def norm(self, size: int) -> NormWeights:
        return NormWeights(1 + self.vector(size) * np.float32(0.2), self.vector(size), 1e-12)

    def linear(self, rows: int, columns: int, activation: str | None = None) -> LinearWeights:
        return LinearWeights(self.matrix(rows, columns), self.vector(rows), activation)

    def layers(self, family: str, heads: int, dim: int, f: int) -> list[Block]:
        if family == "modernbert":
            blocks = [
                PreNormBlock(self.norm(heads * dim) if layer else None, self.attention(heads, dim, window), self.norm(heads * dim), self.gated(heads * dim, f))
                for layer, window in enumerate((None, 9, 40))
            ]
            return [PreNormLayers(self.ops, blocks, self.norm(heads * dim))]
        return [plan_block(self.ops, self.block(family, heads, dim, f)) for _ in range(2)]

    def block(self, family: str, heads: int, dim: int, f: int) -> PostNormBlock:
        e = heads * dim
        if family == "nomic":
            return PostNormBlock(self.attention(heads, dim, None), self.norm(e), self.gated(e, f), self.norm(e))
        bias = self.matrix(heads, 2 * 91 + 1) if family == "mpnet" else None
        attention = AttentionWeights(self.linear(3 * e, e), self.linear(e, e), heads, dim, bias=bias)
        return PostNormBlock(attention, self.norm(e), MLPWeights(self.linear(f, e, "gelu"), self.linear(e, f)), self.norm(e))

    def attention(self, heads: int, dim: int, window: int | None) -> AttentionWeights:
        rotary = Rotary(inverse_frequencies(1000.0, dim), DynamicNtk(1000.0, 2.0, 64))
        return AttentionWeights(self.linear(3 * heads * dim, heads * dim), self.linear(heads * dim, heads * dim), heads, dim, rotary, window)

    def gated(self, e: int, f: int) -> GatedMLPWeights:
        return GatedMLPWeights(self.linear(f, e, "silu"), self.linear(f, e), self.linear(e, f))


def vectors(program: Program, batches: Iterable[PackedBatch], count: int) -> list[bytes]:
    """Every document's bits, in the caller's order."""
    found = [b""] * count
    for batch, pending in [(batch, program.submit(batch)) for batch in batches]:
        for document, row in zip(batch.order.tolist(), pending.result(), strict=True):
            assert np.isfinite(row).all()
            found[document] = row.tobytes()
    return found


def poisoned(batch: PackedBatch) -> PackedBatch:
    """The same documents with other tokens in the filler rows."""
    filler = np.ones(batch.num_rows, bool)
    for start, length in zip(batch.cu_seqlens, batch.lengths, strict=False):
        filler[start : start + length] = False
    ids, positions = batch.input_ids.copy(), batch.position_ids.copy()
    ids[filler], positions[filler] = VOCABULARY - 1, 511
    return PackedBatch(ids, positions, batch.cu_seqlens, batch.lengths, batch.order)


def check(num_heads: int, head_dim: int, intermediate_size: int, count: int, family: str, make_ops: Callable[[int], NumpyOps] = NumpyOps) -> None:
    """Raises AssertionError where a vector's bits depend on anything but its document. make_ops: from a number of threads."""
    ops = make_ops(1)
    model = Model(ops, num_heads, head_dim, intermediate_size, family)
    random = np.random.default_rng()
    lengths = np.append(random.integers(1, 150, count - 3), [1, 1, 300])
    documents = [random.integers(0, VOCABULARY, length, dtype=np.int32) for length in lengths]

    def batches(order: Iterable[int], budget: int) -> list[PackedBatch]:
        chosen = list(order)
        offsets = np.cumsum([0] + [len(documents[i]) for i in chosen])
        cut = list(pack(np.concatenate([documents[i] for i in chosen]), offsets, budget, ops.row_block))
        return [PackedBatch(b.input_ids, b.position_ids, b.cu_seqlens, b.lengths, np.array(chosen)[b.order]) for b in cut]

    program = ops.program(model.forward)
    alone = vectors(program, [batch for i in range(count) for batch in batches([i], 1)], count)
    for budget in (240, 600, ops.max_batch_tokens):
        assert vectors(program, batches(random.permutation(count).tolist(), budget), count) == alone, f"budget {budget}"
    assert vectors(program, map(poisoned, batches(range(count), ops.max_batch_tokens)), count) == alone, "filler"
    for threads in (2, 3):
        threaded = make_ops(threads)
        pool = threaded.program(Model(threaded, num_heads, head_dim, intermediate_size, family).forward)
        assert vectors(pool, batches(random.permutation(count).tolist(), 480), count) == alone, f"{threads} threads"
        pool.close()


if __name__ == "__main__":
    for shape in MODELS:
        check(*shape)
    print(blas_name())
