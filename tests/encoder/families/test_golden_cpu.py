"""Every family on each path of a CPU, against transformers' golden vectors; alone or in company, the same bits."""

from __future__ import annotations

import numpy as np
import pytest

from tests.encoder.backends.each_backend import CPU_PATHS, open_cpu
from tests.encoder.families.golden import FAMILIES, GOLDEN, read_golden
from tests.encoder.families.planned import embeddings

# Of tiny models, whose few columns average little rounding away; MiniLM's are 0.99998 in bfloat16 and 0.9964 in int8.
LEAST_COSINE = {"float32": 0.999999, "bfloat16": 0.999, "int8": 0.95}
QUICK = [("int8", "avx2_int8"), ("float32", "avx2_f32")]
PATHS = [path if path in QUICK else pytest.param(path, marks=pytest.mark.long) for path in CPU_PATHS]

pytestmark = [pytest.mark.parametrize("path", PATHS, ids="-".join), pytest.mark.parametrize("family", FAMILIES)]


def test_the_vectors_of_transformers(family: str, path: tuple[str, str]) -> None:
    golden = read_golden(family)
    for pooling, vectors in golden.vectors.items():
        found = embeddings(GOLDEN / family, golden.documents, open_cpu(*path), pooling)
        assert np.isfinite(found).all()
        assert (found.astype(np.float64) * vectors).sum(axis=1).min() >= LEAST_COSINE[path[0]], pooling


def test_alone_and_in_any_order_a_document_has_the_same_bits(family: str, path: tuple[str, str]) -> None:
    documents = read_golden(family).documents
    together = embeddings(GOLDEN / family, documents, open_cpu(*path), "mean")
    order = np.random.default_rng(5).permutation(len(documents))
    shuffled = embeddings(GOLDEN / family, [documents[index] for index in order], open_cpu(*path), "mean")
    for place, index in enumerate(order):
        assert shuffled[place].tobytes() == together[index].tobytes()
    for index, document in enumerate(documents):
        assert embeddings(GOLDEN / family, [document], open_cpu(*path), "mean")[0].tobytes() == together[index].tobytes()
