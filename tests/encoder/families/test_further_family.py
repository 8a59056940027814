"""A further family of known operations is one file and one line: shown with one that nobody has published."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from embermill.encoder import Encoder, WeightsError, models
from embermill.encoder.weights.convert.convert import convert
from tests.encoder.tiny_bert import TinyBert, write_tokenizer

FILE = '''
    """Sparrow: x = LayerNorm(word); each layer: x = x + W2 relu(W1 x)."""
    from typing import NamedTuple

    from embermill.encoder.models.layers import linear, norm, plan_linear
    from embermill.encoder.weights.loader import NameTable


    class SparrowConfig(NamedTuple):
        model_type: str
        hidden_size: int
        num_layers: int
        wing: int
        vocab_size: int

        @property
        def position_limit(self):
            return None

        def fingerprint(self):
            return self._asdict()


    def read_config(file):
        return SparrowConfig("sparrow", file.positive("hidden_size"), file.num_layers("num_layers"), file.positive("wing"), file.positive("vocab_size"))


    def name_table(config):
        shapes = {"word.weight": (config.vocab_size, config.hidden_size), "norm.weight": (config.hidden_size,)}
        for layer in range(config.num_layers):
            shapes |= {f"layer.{layer}.up.weight": (config.wing, config.hidden_size), f"layer.{layer}.down.weight": (config.hidden_size, config.wing)}
        return NameTable(shapes, ("sparrow.",))


    def build(config, parameters, ops):
        embed = ops.embed(parameters["word.weight"], norm=norm(parameters, "norm", 1e-5))
        layers = [
            (plan_linear(ops, linear(parameters, f"layer.{layer}.up", "relu")), plan_linear(ops, linear(parameters, f"layer.{layer}.down")))
            for layer in range(config.num_layers)
        ]

        def forward(batch):
            x = embed(batch)
            for up, down in layers:
                x = down(up(x), residual=x)
            return x

        return forward
'''
HIDDEN, WING, LAYERS = 18, 30, 2
IDS = [[2, 7, 8, 9, 3], [2, 3], [5]]


@pytest.fixture
def sparrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of that family, which the encoder has been told of by one file and one line."""
    (tmp_path / "rooms").mkdir()
    (tmp_path / "rooms/sparrow.py").write_text(dedent(FILE))
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path / "rooms")])
    monkeypatch.setitem(models.FAMILIES, "sparrow", "sparrow")
    monkeypatch.delitem(sys.modules, "embermill.encoder.models.sparrow", raising=False)
    folder, random, vocab = tmp_path / "model", np.random.default_rng(1), TinyBert().vocab
    folder.mkdir()
    shapes: dict[str, tuple[int, ...]] = {"word.weight": (len(vocab), HIDDEN), "norm.weight": (HIDDEN,)}
    for layer in range(LAYERS):
        shapes |= {f"layer.{layer}.up.weight": (WING, HIDDEN), f"layer.{layer}.down.weight": (HIDDEN, WING)}
    tensors = {f"sparrow.{name}": random.standard_normal(shape, dtype=np.float32) * np.float32(0.3) for name, shape in shapes.items()}
    save_file(tensors, folder / "model.safetensors")
    config = {"model_type": "sparrow", "hidden_size": HIDDEN, "num_layers": LAYERS, "wing": WING, "vocab_size": len(vocab)}
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder, vocab)
    return folder


def expected(folder: Path) -> np.ndarray:
    """[B, E]: the equations of its docstring, and the mean."""
    weights = {name.removeprefix("sparrow."): tensor.astype(np.float64) for name, tensor in load_file(folder / "model.safetensors").items()}
    vectors = []
    for ids in IDS:
        x = weights["word.weight"][ids]
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) * weights["norm.weight"]
        for layer in range(LAYERS):
            x = x + np.maximum(x @ weights[f"layer.{layer}.up.weight"].T, 0) @ weights[f"layer.{layer}.down.weight"].T
        vectors.append(x.mean(0))
    return np.array(vectors)


def test_it_embeds(sparrow: Path) -> None:
    with Encoder.from_pretrained(str(sparrow), device="cpu", threads=1) as encoder:
        np.testing.assert_allclose(encoder.encode_token_ids(IDS), expected(sparrow), atol=1e-5, rtol=0)
        assert encoder.encode(["open the zip file"]).shape == (1, HIDDEN)


def test_what_its_file_lacks_is_named(sparrow: Path) -> None:
    tensors = load_file(sparrow / "model.safetensors")
    save_file({name: tensor for name, tensor in tensors.items() if name != "sparrow.layer.1.up.weight"}, sparrow / "model.safetensors")
    with pytest.raises(WeightsError, match=r"layer\.1\.up\.weight"):
        Encoder.from_pretrained(str(sparrow), device="cpu", threads=1)


def test_burn_has_no_module_for_it(sparrow: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="Burn has modules for BERT and RoBERTa alone"):
        convert(sparrow, tmp_path / "burn", to="mpk")
