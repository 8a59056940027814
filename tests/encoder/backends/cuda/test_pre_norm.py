"""Pre-norm layers whose LayerNorms are taken inside the products that follow, against ops/reference.py and beside layers that keep them apart."""

from __future__ import annotations

import numpy as np
import pytest

from embermill.encoder.models.layers import PreNormLayers
from embermill.encoder.ops.blocks import PreNormBlock
from embermill.encoder.ops.reference import ReferenceOps
from embermill.encoder.pipeline.batching import pack
from tests.encoder.backends.cuda.a_gpu import LIMITS, a_gpu, fresh_random, relative_error
from tests.encoder.backends.test_family_ops import Parts

pytestmark = pytest.mark.gpu

LENGTHS = [1, 2, 63, 64, 65, 127, 128, 129, 200, 300]


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize(("heads", "head_dim"), [(4, 64), (12, 32), (8, 64), (12, 64)])
def test_folded_norms(precision: str, with_bias: bool, heads: int, head_dim: int) -> None:
    """What flows between layers has a mean: gammas and betas are not 1 and 0, and rows begin far from their mean."""
    device, width = a_gpu("sm_90"), heads * head_dim
    from embermill.encoder.backends.cuda.ops import CudaOps
    from embermill.encoder.backends.cuda.pre_norm import Summed

    random = fresh_random()
    parts = Parts(random, with_bias)
    windows = [None, 64, 64]
    blocks = [
        PreNormBlock(parts.norm(width) if layer else None, parts.attention(heads, head_dim, window), parts.norm(width), parts.gated(width, 192, "gelu"))
        for layer, window in enumerate(windows)
    ]
    final, offsets = parts.norm(width), np.concatenate([[0], np.cumsum(LENGTHS)])
    (batch,) = pack(np.zeros(offsets[-1], np.int32), offsets, 1 << 20)
    hidden = random.standard_normal((batch.num_rows, width), dtype=np.float32) + np.float32(0.5)
    found, host = {}, None
    for folded in (True, False):
        ops = CudaOps(device, precision, folded_norm=folded)
        layers = PreNormLayers(ops, blocks, final)
        assert bool(layers.whole) == folded
        x, on_gpu = ops.from_host(hidden), ops.to_device(batch)
        host = ops.to_host(x).astype(np.float64)
        if folded:
            once = layers.whole[0](ops.from_host(hidden), on_gpu)
            assert isinstance(once, Summed) and once.statistics.shape == (batch.num_rows, once.statistics.shape[1])
        found[folded] = ops.to_host(layers(x, on_gpu))
    expected = PreNormLayers(ReferenceOps(), blocks, final)(host, batch)
    errors = {folded: relative_error(got, expected) for folded, got in found.items()}
    print(errors)
    assert errors[True] < 3 * LIMITS[precision]
    assert errors[True] < 1.5 * errors[False]
