"""Every family against the vectors that transformers computes from the same tiny model, with no torch at hand; and the same bits, whatever the company."""

from __future__ import annotations

import json

import numpy as np
import pytest

from embermill.encoder.ops.reference import ReferenceOps
from tests.encoder.families.golden import FAMILIES, GOLDEN, TOLERANCE, embed, read_golden, worst
from tests.encoder.families.planned import embeddings


@pytest.mark.parametrize("family", FAMILIES)
def test_the_vectors_of_transformers(family: str) -> None:
    assert worst(family, GOLDEN / family) <= TOLERANCE


@pytest.mark.parametrize("family", FAMILIES)
def test_the_specification_gives_them_to_the_last_bits(family: str) -> None:
    golden = read_golden(family)
    for pooling, vectors in golden.vectors.items():
        assert np.abs(embeddings(GOLDEN / family, golden.documents, ReferenceOps(), pooling) - vectors).max() <= 3e-7


@pytest.mark.parametrize("family", FAMILIES)
def test_two_runs_give_the_same_bits(family: str) -> None:
    documents = read_golden(family).documents
    first = embed(GOLDEN / family, documents)
    assert first.tobytes() == embed(GOLDEN / family, documents).tobytes()
    assert first.tobytes() == embed(GOLDEN / family, documents, threads=2).tobytes()


@pytest.mark.parametrize("family", FAMILIES)
def test_alone_packed_and_in_any_order_a_document_has_the_same_bits(family: str) -> None:
    documents = read_golden(family).documents
    together = embed(GOLDEN / family, documents)
    order = np.random.default_rng(5).permutation(len(documents))
    shuffled = embed(GOLDEN / family, [documents[index] for index in order] * 2)
    for place, index in enumerate([*order, *order]):
        assert shuffled[place].tobytes() == together[index].tobytes()
    for index, document in enumerate(documents):
        assert embed(GOLDEN / family, [document])[0].tobytes() == together[index].tobytes()


def test_all_families_have_golden_files() -> None:
    from embermill.encoder.models import FAMILIES as REGISTRY

    types = {json.loads((GOLDEN / family / "config.json").read_text(encoding="utf-8"))["model_type"] for family in FAMILIES}
    assert {REGISTRY[model_type] for model_type in types} == set(REGISTRY.values())
