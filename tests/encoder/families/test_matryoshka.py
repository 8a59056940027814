"""Fewer dimensions as each family was trained for them: the first columns, and for nomic those of the vector behind a LayerNorm."""

from __future__ import annotations

import numpy as np
import pytest

from embermill.encoder import Encoder
from tests.encoder.families.golden import GOLDEN, read_golden


def embed(family: str, **options: object) -> np.ndarray:
    with Encoder.from_pretrained(str(GOLDEN / family), device="cpu", threads=1, **options) as encoder:  # type: ignore[arg-type]
        return encoder.encode_token_ids(read_golden(family).documents)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("family", ["bert", "modernbert", "gte", "xlm-roberta"])
def test_the_first_columns(family: str) -> None:
    whole = embed(family)
    np.testing.assert_array_equal(embed(family, dimensions=5), whole[:, :5])
    np.testing.assert_allclose(embed(family, dimensions=5, normalize=True), unit(whole[:, :5]), atol=1e-6)


def test_nomic_has_a_layer_norm_before_the_cut_and_none_without_a_cut() -> None:
    whole = embed("nomic_bert")
    assert np.abs(whole.mean(axis=1)).max() > 0.01
    normed = (whole - whole.mean(axis=1, keepdims=True)) / np.sqrt(whole.var(axis=1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(embed("nomic_bert", dimensions=5), normed[:, :5], atol=1e-5)
    np.testing.assert_allclose(embed("nomic_bert", dimensions=5, normalize=True), unit(normed[:, :5]), atol=1e-5)


def test_the_fingerprint_tells() -> None:
    def config(**options: object) -> str:
        with Encoder.from_pretrained(str(GOLDEN / "nomic_bert"), device="cpu", **options) as encoder:  # type: ignore[arg-type]
            return encoder.fingerprint()["config"]

    assert config() == config(dimensions=16) != config(dimensions=5)
