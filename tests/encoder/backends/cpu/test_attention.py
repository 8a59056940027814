"""Very long documents are cut into bands of queries; the result is that of the specification, and the document alone decides its bits."""

from __future__ import annotations

import numpy as np
import pytest

from embermill.encoder.backends.cpu import attention
from embermill.encoder.backends.cpu.attention import NumpyAttention
from embermill.encoder.backends.cpu.workspace import Workspace
from embermill.encoder.ops.reference import ReferenceOps
from embermill.encoder.ops.rotary import Rotary, inverse_frequencies
from tests.encoder.backends.each_backend import random_batch

HEADS, HEAD_DIM = 3, 8


@pytest.mark.parametrize("with_bias", [False, True])
def test_long_documents_in_bands(monkeypatch: pytest.MonkeyPatch, with_bias: bool) -> None:
    monkeypatch.setattr(attention, "LONG_DOCUMENT", 40)
    monkeypatch.setattr(attention, "LONG_BAND_ROWS", 16)
    random = np.random.default_rng()
    rotary = Rotary(inverse_frequencies(100.0, HEAD_DIM))
    bias = random.standard_normal((HEADS, 2 * 30 + 1), dtype=np.float32) if with_bias else None
    batch = random_batch(random, [100, 40, 41, 7, 96], 50, 1)
    qkv = random.standard_normal((batch.num_rows, 3 * HEADS * HEAD_DIM), dtype=np.float32)
    workspace = Workspace()
    found = NumpyAttention(HEADS, HEAD_DIM, workspace, rotary=rotary, bias=bias)(qkv, batch)
    expected = ReferenceOps().attention(HEADS, HEAD_DIM, rotary=rotary, bias=bias)(qkv.astype(np.float64), batch)
    np.testing.assert_allclose(found, expected, atol=3e-6, rtol=0)
    assert workspace.array("scores", 1).base is not None and workspace._arrays["scores"].size <= HEADS * 40 * 40


def test_bands_are_whole_documents_up_to_the_limit() -> None:
    """What 21abdb6 computed at once is computed at once: bits of existing datasets stay."""
    plain = NumpyAttention(HEADS, HEAD_DIM, Workspace())
    assert list(plain._bands(4096)) == [(slice(0, 4096), slice(0, 4096))]
    assert list(plain._bands(4097))[:2] == [(slice(0, 512), slice(0, 4097)), (slice(512, 1024), slice(0, 4097))]
    local = NumpyAttention(HEADS, HEAD_DIM, Workspace(), window=64)
    assert list(local._bands(128)) == [(slice(0, 128), slice(0, 128))]
    assert list(local._bands(300)) == [(slice(0, 128), slice(0, 192)), (slice(128, 256), slice(64, 300)), (slice(256, 300), slice(192, 300))]
