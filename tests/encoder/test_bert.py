"""The planned BERT against the paper's formulas in float64, over every shape and spelling that a folder may have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embermill.encoder import Encoder, ModelConfigError
from tests.encoder.plain_bert import hidden_states, pooled
from tests.encoder.tiny_bert import TinyBert, write_json

IDS = [[2, 7, 8, 3], [2, 3], [2, *range(5, 35), 3], [2], [2, 9, 9, 9, 3]]


def embed(folder: Path, **options: object) -> np.ndarray:
    with Encoder.from_pretrained(str(folder), device="cpu", threads=1, **options) as encoder:  # type: ignore[arg-type]
        return encoder.encode_token_ids(IDS)


@pytest.mark.parametrize(
    "bert",
    [
        TinyBert(),
        TinyBert(layers=1, heads=1, head_dim=7, intermediate=5),
        TinyBert(layers=3, heads=5, head_dim=8, eps=1e-5),
        TinyBert(activation="gelu_new"),
        TinyBert(activation="relu", types=1),
        TinyBert(prefix="bert.", old_norm_names=True),
        TinyBert(prefix="bert.", extra={"cls.predictions.bias": (9,), "embeddings.position_ids": (1, 40)}),
        TinyBert(shards=3),
        TinyBert(dtype="F64"),
    ],
    ids=lambda bert: "-".join(f"{key}={getattr(bert, key)}" for key in ("layers", "heads", "activation", "prefix", "shards", "dtype")),
)
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_matches_the_formulas(tmp_path: Path, bert: TinyBert, pooling: str) -> None:
    expected = np.stack([pooled(pooling, hidden_states(bert, bert.tensors(), ids)) for ids in IDS])
    np.testing.assert_allclose(embed(bert.write(tmp_path, tokenizer=False), pooling=pooling), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_sixteen_bit_weights_are_taken_for_the_numbers_that_they_are(tmp_path: Path, dtype: str) -> None:
    from tests.encoder.tiny_bert import DTYPES

    bert = TinyBert(dtype=dtype)
    rounded = {name: tensor.astype(DTYPES[dtype]).astype(np.float64) for name, tensor in bert.tensors().items()}
    expected = np.stack([pooled("mean", hidden_states(bert, rounded, ids)) for ids in IDS])
    np.testing.assert_allclose(embed(bert.write(tmp_path, tokenizer=False)), expected, atol=2e-5, rtol=0)


def test_every_spelling_of_the_same_weights_gives_the_same_bits(tmp_path: Path) -> None:
    spellings = [TinyBert(), TinyBert(prefix="bert."), TinyBert(old_norm_names=True), TinyBert(shards=2)]
    first, *others = [embed(bert.write(tmp_path / str(index), tokenizer=False)) for index, bert in enumerate(spellings)]
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_an_unknown_architecture_names_those_that_there_are(tmp_path: Path) -> None:
    TinyBert().write(tmp_path)
    write_json(tmp_path / "config.json", TinyBert().config() | {"model_type": "layoutlm"})
    with pytest.raises(ModelConfigError, match="'layoutlm' is not supported; supported are bert"):
        Encoder.from_pretrained(str(tmp_path), device="cpu")
