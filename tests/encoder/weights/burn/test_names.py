"""Burn's BERTs under Hugging Face names: recognised by structure, transposed where Burn stores [in, out], nothing lost."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from embermill.encoder.errors import WeightsError
from embermill.encoder.weights import open_weights
from embermill.encoder.weights.burn.burnpack import read_burnpack
from embermill.encoder.weights.burn.burnpack_writer import write_burnpack
from embermill.encoder.weights.burn.layouts import LAYOUTS, places
from embermill.encoder.weights.burn.names import find_architecture, to_hugging_face
from embermill.encoder.weights.burn.record import read_record
from embermill.encoder.weights.burn.record_tensor import RecordTensor
from tests.encoder.weights.burn_files import BERTS, FIXTURES

FILES = sorted((FIXTURES / "bert").glob("*/*.mpk*")) + sorted((FIXTURES / "bert").glob("*/*.bpk")) + sorted((FIXTURES / "bert").glob("*/burn.safetensors"))


def original(folder: Path) -> dict[str, np.ndarray]:
    """The Hugging Face file that Burn was given, in the spelling without prefix and with weight and bias."""
    loaded = load_file(folder / "model.safetensors")
    return {name.removeprefix("bert.").replace(".gamma", ".weight").replace(".beta", ".bias"): array for name, array in loaded.items()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_layout_and_format_is_the_original_again(path: Path) -> None:
    expected = original(path.parent)
    source = to_hugging_face(open_weights(path))
    no_pooler = "nopool" in path.parent.name or path.name.startswith(("minilm", "masked", "sentence"))
    assert set(source.tensors) == {name for name in expected if not (no_pooler and name.startswith("pooler."))}
    for name, info in source.tensors.items():
        array = source.read(name)
        assert array.shape == info.shape == expected[name].shape
        np.testing.assert_array_equal(array, expected[name].astype(np.float16 if "half" in path.name else np.float32))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_layout_is_recognised(path: Path) -> None:
    architecture = find_architecture(open_weights(path))
    kind = {"bert": "bert", "burn": "bert", "minilm": "minilm", "masked": "masked", "sentence": "st"}[path.name.split(".")[0].split("_")[0]]
    if kind == "minilm" and path.suffix == ".bpk":
        kind = "bert"  # a burnpack has no nil fields to tell them apart
    assert architecture is not None and architecture.mapping == kind
    assert architecture.num_layers == (2 if "2x32" in path.parent.name else 1)


def test_linear_weights_are_views_of_what_is_stored() -> None:
    source = to_hugging_face(open_weights(FIXTURES / "bert/bert_2x32/bert.mpk"))
    weight = source.read("encoder.layer.0.intermediate.dense.weight")
    assert weight.shape == (72, 32) and weight.flags.f_contiguous and not weight.flags.owndata


def test_pytorch_adapter_of_burn_writes_out_in_and_weight_bias(tmp_path: Path) -> None:
    """Burn's BurnToPyTorchAdapter keeps its paths but transposes and renames."""
    folder = FIXTURES / "bert" / BERTS[0]
    adapted = {}
    for name, array in load_file(folder / "burn.safetensors").items():
        linear = name.endswith(".weight") and "_embeddings" not in name
        adapted[name.replace(".gamma", ".weight").replace(".beta", ".bias")] = np.ascontiguousarray(array.T) if linear else array
    save_file(adapted, tmp_path / "adapted.safetensors", {"producer": "burn"})
    source = to_hugging_face(open_weights(tmp_path / "adapted.safetensors"))
    for name, array in original(folder).items():
        np.testing.assert_array_equal(source.read(name), array)


def test_other_safetensors_are_left_alone() -> None:
    source = open_weights(FIXTURES / "bert" / BERTS[1] / "model.safetensors")
    assert to_hugging_face(source) is source


def test_a_tensor_without_a_place_keeps_its_name() -> None:
    found = bpk({**dict.fromkeys(places(LAYOUTS["bert"](1, False))), "classifier.weight": None})
    assert "classifier.weight" in to_hugging_face(found).tensors


def test_a_bert_inside_a_larger_module_is_found() -> None:
    found = bpk({f"bert.{path}": None for path in places(LAYOUTS["bert"](2, True))})
    architecture = find_architecture(found)
    assert architecture is not None and (architecture.mapping, architecture.prefix, architecture.pooler) == ("bert", "bert.", True)
    assert "pooler.dense.weight" in to_hugging_face(found).tensors


def test_a_layer_number_is_no_claim_on_memory() -> None:
    found = bpk({"encoder.layers.99999999999.mha.query.weight": None})
    architecture = find_architecture(found)
    assert architecture is not None and architecture.num_layers == 1


@pytest.mark.parametrize(("name", "words"), [("linear1", "ONNX"), ("constant12", "ONNX"), ("conv2d3.weight", "ONNX"), ("head.weight", "expected a BERT")])
def test_what_is_no_bert_is_refused_with_file_offset_and_tensor(name: str, words: str) -> None:
    tree: dict[str, Any] = {"id": "0400000000000", "param": {"bytes": b"\0" * 4, "shape": [1], "dtype": "F32"}}
    for part in reversed(name.split(".")):
        tree = {part: tree}
    record = read_record(msgpack.packb({"item": tree}), "other.mpk")
    with pytest.raises(WeightsError, match=words) as caught:
        to_hugging_face(record)
    assert caught.value.file == "other.mpk" and caught.value.tensor == name and caught.value.offset


def test_layouts_hold_every_parameter_once() -> None:
    for mapping, layout in LAYOUTS.items():
        found = places(layout(3, True))
        assert len({place.name for place in found.values()}) == len(found), mapping


def bpk(names: dict[str, None]) -> Any:
    sink = io.BytesIO()
    write_burnpack(sink, {name: (None, RecordTensor.of(np.zeros((1, 1), "<f4"))) for name in names}, {})
    return read_burnpack(sink.getvalue(), "made.bpk")
