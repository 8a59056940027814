"""Weights are held against the model's description by their headers alone."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from embermill.encoder import WeightsError, describe
from embermill.encoder.parameters import open_dense, open_parameters, require_parameters
from embermill.encoder.weights.convert.convert import convert
from embermill.encoder.weights.safetensors.file import SafetensorsFile
from tests.encoder.tiny_bert import TinyBert, write_sentence_transformers

BERT = TinyBert(layers=1)


def test_nothing_is_read_of_weights_that_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dense = [(8, "torch.nn.modules.activation.Tanh", True)]
    folder = write_sentence_transformers(BERT.write(tmp_path), BERT.hidden, dense=dense)
    monkeypatch.setattr(SafetensorsFile, "read", lambda *_: pytest.fail("the headers say it all"))
    require_parameters(describe(str(folder)))


def test_parameters_outlive_the_file_that_they_were_opened_from(tmp_path: Path) -> None:
    description = describe(str(write_sentence_transformers(BERT.write(tmp_path), BERT.hidden, dense=[(8, "torch.nn.modules.linear.Identity", False)])))
    with open_parameters(description) as parameters:
        word = parameters["embeddings.word_embeddings.weight"]
    np.testing.assert_array_equal(word, BERT.tensors()["embeddings.word_embeddings.weight"].astype(np.float32))
    with open_dense(description.head[0]) as parameters:  # type: ignore[arg-type]
        assert parameters["linear.weight"].shape == (8, BERT.hidden) and "linear.bias" not in parameters


def test_a_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    weights = BERT.write(tmp_path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        require_parameters(describe(str(tmp_path)))


def test_a_gzipped_record_is_left_to_whoever_loads_it(tmp_path: Path) -> None:
    convert(BERT.write(tmp_path / "plain"), tmp_path / "burn", to="mpk.gz")
    record = next((tmp_path / "burn").glob("*.mpk.gz"))
    require_parameters(describe(str(tmp_path / "burn")))
    record.write_bytes(gzip.compress(b"no record"))
    require_parameters(describe(str(tmp_path / "burn")))
