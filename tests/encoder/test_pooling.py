"""Heads of every make, from hidden states to embeddings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from embermill.encoder import Encoder, EncoderError, WeightsError
from tests.encoder.plain_bert import hidden_states, pooled
from tests.encoder.tiny_bert import TinyBert, write_sentence_transformers

BERT = TinyBert(layers=1)
IDS = [[2, 7, 8, 3], [2, 3], [2, *range(5, 35), 3]]
TANH, IDENTITY = "torch.nn.modules.activation.Tanh", "torch.nn.modules.linear.Identity"


def expected(folder: Path, pooling: str, dense: list[tuple[str, str]], normalize: bool, dimensions: int | None = None) -> np.ndarray:
    """dense: (folder, activation) of each module."""
    rows = np.stack([pooled(pooling, hidden_states(BERT, BERT.tensors(), ids)) for ids in IDS])
    for path, activation in dense:
        weights = load_file(folder / path / "model.safetensors")
        rows = rows @ weights["linear.weight"].T.astype(np.float64) + weights.get("linear.bias", 0)
        rows = np.tanh(rows) if activation == TANH else rows
    rows = rows[:, :dimensions]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True) if normalize else rows


def embed(folder: Path, **options: object) -> np.ndarray:
    with Encoder.from_pretrained(str(folder), device="cpu", threads=1, **options) as encoder:  # type: ignore[arg-type]
        embeddings = encoder.encode_token_ids(IDS)
        assert embeddings.shape == (len(IDS), encoder.dimension) and embeddings.dtype == np.float32
        return embeddings


@pytest.mark.parametrize("pooling", ["cls", "mean", "max", "last"])
@pytest.mark.parametrize("normalize", [True, False])
def test_pooling_and_norm(tmp_path: Path, pooling: str, normalize: bool) -> None:
    folder = write_sentence_transformers(BERT.write(tmp_path, tokenizer=False), BERT.hidden, pooling=pooling, normalize=normalize)
    np.testing.assert_allclose(embed(folder), expected(folder, pooling, [], normalize), atol=2e-5)


def test_options_replace_what_the_model_says(tmp_path: Path) -> None:
    folder = write_sentence_transformers(BERT.write(tmp_path, tokenizer=False), BERT.hidden)
    np.testing.assert_allclose(embed(folder, pooling="cls", normalize=False), expected(folder, "cls", [], False), atol=2e-5)
    np.testing.assert_allclose(embed(folder, pooling="last"), expected(folder, "last", [], True), atol=2e-5)


def test_dense_modules(tmp_path: Path) -> None:
    folder = write_sentence_transformers(BERT.write(tmp_path, tokenizer=False), BERT.hidden, dense=[(21, TANH, True), (9, IDENTITY, False)])
    modules = [("2_Dense", TANH), ("3_Dense", IDENTITY)]
    np.testing.assert_allclose(embed(folder), expected(folder, "mean", modules, True), atol=2e-5)
    np.testing.assert_allclose(embed(folder, dimensions=4), expected(folder, "mean", modules, True, 4), atol=2e-5)


def test_fewer_dimensions_have_length_one_where_the_model_normalises(tmp_path: Path) -> None:
    folder = write_sentence_transformers(BERT.write(tmp_path, tokenizer=False), BERT.hidden)
    short = embed(folder, dimensions=7)
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(short, expected(folder, "mean", [], True, 7), atol=2e-5)
    np.testing.assert_array_equal(embed(folder, dimensions=7, normalize=False), embed(folder, normalize=False)[:, :7])
    np.testing.assert_array_equal(embed(folder, dimensions=BERT.hidden), embed(folder))


@pytest.mark.parametrize("dimensions", [0, -1, 31])
def test_dimensions_that_there_are_not(tmp_path: Path, dimensions: int) -> None:
    folder = BERT.write(tmp_path, tokenizer=False)
    with pytest.raises(EncoderError, match=f"dimensions={dimensions}: this model makes 30"):
        embed(folder, dimensions=dimensions)


def test_dense_weights_are_accounted_for(tmp_path: Path) -> None:
    folder = write_sentence_transformers(BERT.write(tmp_path, tokenizer=False), BERT.hidden, dense=[(21, TANH, False)])
    config = folder / "2_Dense" / "config.json"
    config.write_text(config.read_text().replace('"bias": false', '"bias": true'))
    with pytest.raises(WeightsError, match=r"2_Dense/model\.safetensors.*missing \(1\): linear\.bias"):
        embed(folder)
    (folder / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="no weight file"):
        embed(folder)
