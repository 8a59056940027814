"""Every tensor accounted for, in one error; weights used as they lie where they can be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from embermill.encoder.config import read_model_config
from embermill.encoder.errors import WeightsError
from embermill.encoder.models import bert as bert_module
from embermill.encoder.models import layers
from embermill.encoder.models.layers import merged
from embermill.encoder.ops.blocks import MergedWeight
from embermill.encoder.weights import find_weights, open_weights
from embermill.encoder.weights.loader import NameTable, Parameters, as_float32, match_parameters
from tests.encoder.tiny_bert import TinyBert, write_json


def parameters(folder: Path) -> Parameters:
    config = read_model_config(folder).transformer
    return match_parameters(open_weights(find_weights(folder)), bert_module.name_table(config))  # type: ignore[arg-type]


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    bert = TinyBert(layers=1, extra={"cls.seq_relationship.bias": (2,), "crf.transitions": (3, 3), "encoder.layer.1.output.dense.bias": (30,)})
    bert.write(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["embeddings.LayerNorm.bias"], tensors["encoder.layer.0.intermediate.dense.weight"]
    tensors["encoder.layer.0.output.dense.weight"] = tensors["encoder.layer.0.output.dense.weight"].T.copy()
    tensors["encoder.layer.0.output.dense.bias"] = np.zeros(30, np.int64)
    tensors["bert.embeddings.LayerNorm.gamma"] = np.ones(30, np.float32)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError) as caught:
        parameters(tmp_path)
    message = str(caught.value)
    assert str(tmp_path / "model.safetensors") in message
    assert "missing (2): embeddings.LayerNorm.bias, encoder.layer.0.intermediate.dense.weight" in message
    assert "unexpected (2): crf.transitions, encoder.layer.1.output.dense.bias" in message
    assert (
        "embeddings.LayerNorm.weight = bert.embeddings.LayerNorm.gamma" in message or "bert.embeddings.LayerNorm.gamma = embeddings.LayerNorm.weight" in message
    )
    assert "encoder.layer.0.output.dense.weight [52, 30] instead of [30, 52]" in message
    assert "encoder.layer.0.output.dense.bias of type I64" in message
    assert "pooler" not in message and "cls." not in message


def test_a_file_of_another_model_lists_every_parameter(tmp_path: Path) -> None:
    TinyBert(layers=1).write(tmp_path)
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"missing \(21\).*unexpected \(1\): weight"):
        parameters(tmp_path)


def test_aligned_float32_is_used_as_it_lies() -> None:
    stored = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert as_float32(stored) is stored
    assert np.shares_memory(as_float32(stored.T), stored)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.dtype(">f4")])
def test_other_types_are_converted_in_their_own_layout(dtype: np.dtype) -> None:
    array = np.arange(12).reshape(3, 4).astype(dtype).T
    converted = as_float32(array)
    assert converted.dtype == np.dtype("=f4") and converted.dtype.isnative
    assert converted.flags.f_contiguous
    np.testing.assert_array_equal(converted, np.arange(12).reshape(3, 4).T)


def test_unaligned_float32_is_copied_once() -> None:
    unaligned = np.frombuffer(b"\0" * 2 + np.arange(6, dtype=np.float32).tobytes(), np.float32, 6, 2).reshape(2, 3)
    assert not unaligned.flags.aligned
    copied = as_float32(unaligned.T)
    assert copied.flags.aligned and copied.flags.f_contiguous
    np.testing.assert_array_equal(copied, np.arange(6).reshape(2, 3).T)


@pytest.mark.parametrize("transposed", [False, True])
def test_merging_keeps_the_layout(transposed: bool) -> None:
    parts = {f"{name}.weight": np.full((2, 3), index, np.float32) for index, name in enumerate("qkv")} | {
        f"{name}.bias": np.zeros(2, np.float32) for name in "qkv"
    }
    if transposed:
        parts = {name: np.asfortranarray(array) for name, array in parts.items()}
    weight, bias, _ = merged(parts, ("q", "k", "v"))  # type: ignore[arg-type]
    assert isinstance(weight, np.ndarray) and bias is not None
    assert weight.shape == (6, 3) and bias.shape == (6,)
    assert weight[:, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert weight.flags.f_contiguous if transposed else weight.flags.c_contiguous


def test_finding_the_weights_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no weight file"):
        find_weights(tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin cannot be used, since such files may run code"):
        find_weights(tmp_path)
    (tmp_path / "model.mpk").touch()
    assert find_weights(tmp_path).name == "model.mpk"
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(WeightsError, match=r"several weight files: model\.mpk, model\.safetensors; say which one: weights= in Python, --weights"):
        find_weights(tmp_path)
    assert find_weights(tmp_path, "model.safetensors").name == "model.safetensors"
    with pytest.raises(WeightsError, match=r"no such file; the folder holds model\.mpk, model\.safetensors"):
        find_weights(tmp_path, "other.safetensors")
    for outside in ("../model.mpk", str(tmp_path / "model.mpk")):
        with pytest.raises(WeightsError, match="inside the model's folder"):
            find_weights(tmp_path, outside)


def test_shards_belong_to_their_index(tmp_path: Path) -> None:
    TinyBert(shards=3).write(tmp_path)
    assert find_weights(tmp_path).name == "model.safetensors.index.json"
    source = open_weights(find_weights(tmp_path))
    assert len(source.tensors) == len(TinyBert().tensors())


def test_an_index_and_its_shards_must_agree(tmp_path: Path) -> None:
    save_file({"a": np.zeros(1), "b": np.zeros(1)}, tmp_path / "one.safetensors")
    write_json(tmp_path / "x.safetensors.index.json", {"weight_map": {"a": "one.safetensors", "c": "one.safetensors"}})
    with pytest.raises(WeightsError, match=r"not in the shard that the index names: c \(one.safetensors\); not in the index: b \(one.safetensors\)"):
        open_weights(tmp_path / "x.safetensors.index.json")
    write_json(tmp_path / "x.safetensors.index.json", {"weight_map": {"a": "../one.safetensors"}})
    with pytest.raises(WeightsError, match="files beside the index"):
        open_weights(tmp_path / "x.safetensors.index.json")


@pytest.mark.parametrize("content", [b"PK\x03\x04rest of a zip", b"\x80\x02}q\x00(X\x06\x00\x00\x00weight"])
def test_pickles_are_never_loaded_whatever_they_are_called(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match="this is a pickle"):
        open_weights(tmp_path / "model.safetensors")


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    save_file({"a": np.ones(2, np.float32)}, tmp_path / "weights.mpk")
    assert open_weights(tmp_path / "weights.mpk").format == "safetensors"
    (tmp_path / "text.mpk").write_bytes(b"not weights at all")
    with pytest.raises(WeightsError, match="not a weight file that we know"):
        open_weights(tmp_path / "text.mpk")
    with pytest.raises(WeightsError, match="cannot be read"):
        open_weights(tmp_path / "absent")


def test_a_table_without_prefixes_takes_names_as_they_are(tmp_path: Path) -> None:
    save_file({"linear.weight": np.ones((2, 3), np.float32)}, tmp_path / "d.safetensors")
    found = match_parameters(open_weights(tmp_path / "d.safetensors"), NameTable({"linear.weight": (2, 3)}))
    assert "linear.weight" in found and "linear.bias" not in found
    assert found["linear.weight"].shape == (2, 3)


def test_large_weights_are_merged_only_for_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts lie as they were; an array of them has the bits and the layout of an eager merge."""
    monkeypatch.setattr(layers, "MERGE_BYTES", 0)
    random = np.random.default_rng(4)
    for stored in (lambda: random.standard_normal((6, 6), np.float32), lambda: random.standard_normal((6, 6), np.float32).T):
        parts = {f"{name}.{kind}": stored() if kind == "weight" else random.standard_normal(6, np.float32) for name in "qkv" for kind in ("weight", "bias")}
        weight, *_ = layers.merged(parts, ("q", "k", "v"))  # type: ignore[arg-type]
        assert isinstance(weight, MergedWeight) and weight.shape == (18, 6)
        assert all(part is parts[f"{name}.weight"] for part, name in zip(weight.parts, "qkv", strict=True))
        whole = np.asarray(weight)
        np.testing.assert_array_equal(whole, np.concatenate([parts[f"{name}.weight"] for name in "qkv"]))
        assert whole.T.flags.c_contiguous == parts["q.weight"].T.flags.c_contiguous


@pytest.mark.parametrize("shards", [2, 3])
@pytest.mark.parametrize("left", ["index", "index and shards", "broken index"])
def test_an_index_left_beside_a_whole_file_is_named_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture, left: str, shards: int) -> None:
    """As in sentence-transformers, which takes model.safetensors where there is one."""
    TinyBert(shards=shards, seed=1).write(tmp_path)
    TinyBert(seed=2).write(tmp_path)
    if left != "index and shards":
        for shard in tmp_path.glob("model-*-of-*.safetensors"):
            shard.unlink()
    if left == "broken index":
        (tmp_path / "model.safetensors.index.json").write_text("{")
    assert find_weights(tmp_path).name == "model.safetensors"
    assert "model.safetensors.index.json: left out, since model.safetensors holds all the weights" in caplog.text
    expected = TinyBert(seed=2).tensors()["encoder.layer.0.output.dense.bias"].astype(np.float32)
    np.testing.assert_array_equal(parameters(tmp_path)["encoder.layer.0.output.dense.bias"], expected)


def test_an_index_that_names_the_whole_file_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    TinyBert(seed=2).write(tmp_path)
    names = load_file(tmp_path / "model.safetensors")
    write_json(tmp_path / "model.safetensors.index.json", {"weight_map": dict.fromkeys(names, "model.safetensors")})
    assert find_weights(tmp_path).name == "model.safetensors.index.json" and not caplog.text


@pytest.mark.parametrize(
    "head",
    ["cls.predictions.bias", "cls.predictions.decoder.weight", "cls.seq_relationship.weight", "classifier.weight", "qa_outputs.bias", "linear.weight"],
)
def test_a_known_head_beside_the_encoder_is_named_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture, head: str) -> None:
    bert = TinyBert(layers=1, extra={head: (3,)})
    bert.write(tmp_path)
    with caplog.at_level("INFO", logger="embermill.encoder"):
        parameters(tmp_path)
    assert "no part of the encoder" in caplog.text and head in caplog.text
    TinyBert(layers=1, extra={head.replace("linear", "crf").replace("c", "k").replace("qa", "x"): (3,)}).write(tmp_path)
    with pytest.raises(WeightsError, match="unexpected"):
        parameters(tmp_path)
