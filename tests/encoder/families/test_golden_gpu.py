"""Every family on a GPU, on the portable path and on CUDA's own, against transformers' golden vectors; alone or in company, the same bits."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from embermill.encoder.ops.base import Ops
from tests.encoder.backends.cuda.a_gpu import a_gpu
from tests.encoder.families.golden import FAMILIES, GOLDEN, read_golden
from tests.encoder.families.planned import embeddings

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.parametrize("precision", ["float16", "bfloat16"]),
    pytest.mark.parametrize("module", ["cupy", "cuda"]),
    pytest.mark.parametrize("family", FAMILIES),
]
LEAST_COSINE = {"float16": 0.9999, "bfloat16": 0.995}  # of tiny models, whose few columns average little rounding away


def make_ops(module: str, precision: str) -> Ops:
    ops: Ops = import_module(f"embermill.encoder.backends.{module}.ops").make_ops(a_gpu(), precision)
    return ops


def test_the_vectors_of_transformers(family: str, module: str, precision: str) -> None:
    golden = read_golden(family)
    for pooling, vectors in golden.vectors.items():
        found = embeddings(GOLDEN / family, golden.documents, make_ops(module, precision), pooling)
        assert np.isfinite(found).all()
        assert (found.astype(np.float64) * vectors).sum(axis=1).min() >= LEAST_COSINE[precision], pooling


def test_alone_and_in_any_order_a_document_has_the_same_bits(family: str, module: str, precision: str) -> None:
    documents = read_golden(family).documents
    together = embeddings(GOLDEN / family, documents, make_ops(module, precision), "mean")
    order = np.random.default_rng(5).permutation(len(documents))
    shuffled = embeddings(GOLDEN / family, [documents[index] for index in order], make_ops(module, precision), "mean")
    for place, index in enumerate(order):
        assert shuffled[place].tobytes() == together[index].tobytes()
    for index, document in enumerate(documents):
        assert embeddings(GOLDEN / family, [document], make_ops(module, precision), "mean")[0].tobytes() == together[index].tobytes()
