"""A document alone, among others, in another order and under another budget: the same bits, through the whole program with its graphs."""

from __future__ import annotations

import numpy as np
import pytest

from embermill.encoder.models.layers import PreNormLayers, plan_block
from embermill.encoder.ops.base import Block, Ops
from embermill.encoder.ops.blocks import NormWeights, PreNormBlock
from embermill.encoder.ops.rotary import DynamicNtk, Rotary, inverse_frequencies
from embermill.encoder.pipeline.batching import pack
from tests.encoder.backends.cuda.a_gpu import a_gpu, fresh_random
from tests.encoder.backends.test_family_ops import Parts
from tests.encoder.backends.test_ops import EPS, near_one, normal, post_norm_block

pytestmark = pytest.mark.gpu

VOCABULARY, HEADS, HEAD_DIM, INNER = 500, 6, 64, 1536


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize(("module", "architecture"), [("cupy", ""), ("cuda", ""), ("cuda", "compute_80")], ids=["cupy", "cuda", "cuda-before-hopper"])
@pytest.mark.parametrize("family", ["bert", "modernbert", "mpnet", "nomic"])
def test_bits_do_not_depend_on_the_batch(module: str, architecture: str, precision: str, family: str) -> None:
    from importlib import import_module

    device = a_gpu()
    device = device._replace(architecture=architecture or device.architecture)
    ops: Ops = import_module(f"embermill.encoder.backends.{module}.ops").make_ops(device, precision)
    random = fresh_random()
    program = ops.program(_forward(ops, random, family))
    lengths = random.integers(1, 200, 80)
    documents = [random.integers(0, VOCABULARY, n).astype(np.int32) for n in lengths]
    together = _run(program, documents, range(80), 4096)
    for order, budget in ((random.permutation(80), 4096), (random.permutation(80), 1000), (random.permutation(80)[:30], 300)):
        other = _run(program, documents, order, budget)
        assert all(other[i].tobytes() == together[i].tobytes() for i in order), f"budget {budget}"
    for i in range(0, 80, 8):
        assert _run(program, documents, [i], 4096)[i].tobytes() == together[i].tobytes(), f"document {i} alone"
    program.close()


def _forward(ops: Ops, random: np.random.Generator, family: str):  # type: ignore[no-untyped-def]
    width = HEADS * HEAD_DIM
    tables = normal(random, VOCABULARY, width), normal(random, 256, width), normal(random, width)
    embed = ops.embed(*tables, NormWeights(near_one(random, width), normal(random, width), EPS))
    layers = _layers(ops, random, family)
    pool = ops.segment_pool("mean")

    def forward(batch):  # type: ignore[no-untyped-def]
        hidden_states = embed(batch)
        for layer in layers:
            hidden_states = layer(hidden_states, batch)
        return ops.l2_normalize(pool(hidden_states, batch))

    return forward


def _layers(ops: Ops, random: np.random.Generator, family: str) -> list[Block]:
    """Two layers as the family has them: what they make of positions, of gates, and of norms."""
    parts, width = Parts(random, with_bias=False), HEADS * HEAD_DIM
    if family == "modernbert":
        windows = [None, 64]
        blocks = [
            PreNormBlock(parts.norm(width) if layer else None, parts.attention(HEADS, HEAD_DIM, window), parts.norm(width), parts.gated(width, 576, "gelu"))
            for layer, window in enumerate(windows)
        ]
        return [PreNormLayers(ops, blocks, parts.norm(width))]
    block = post_norm_block(random, HEADS, HEAD_DIM, INNER)
    if family == "mpnet":
        block = block._replace(attention=block.attention._replace(bias=normal(random, HEADS, 183)))
    if family == "nomic":
        rotary = Rotary(inverse_frequencies(1000.0, HEAD_DIM), DynamicNtk(1000.0, 2.0, 100))
        block = block._replace(attention=block.attention._replace(rotary=rotary), mlp=parts.gated(width, INNER, "silu"))
    return [plan_block(ops, block) for _ in range(2)]


def _run(program, documents, order, budget):  # type: ignore[no-untyped-def]
    order = list(order)
    ids, offsets = np.concatenate([documents[i] for i in order]), np.cumsum([0, *(len(documents[i]) for i in order)])
    found = {}
    for batch in pack(ids, offsets, budget):
        embeddings = program.submit(batch).result()
        found.update({order[k]: row for k, row in zip(batch.order.tolist(), embeddings, strict=True)})
    return found
