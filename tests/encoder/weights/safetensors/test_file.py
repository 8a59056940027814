"""Our reading of SafeTensors against the library's: the same tensors from good files, a refusal wherever it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from embermill.encoder.errors import WeightsError
from embermill.encoder.weights import open_weights
from embermill.encoder.weights.safetensors.file import SafetensorsFile


def file_of(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(dtype: str, shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64, ml_dtypes.bfloat16, np.int64, np.int32, np.int8, np.uint8, np.bool_])
def test_reads_what_the_library_writes(tmp_path: Path, dtype: type) -> None:
    tensors: dict[str, np.ndarray] = {"b": np.arange(6).reshape(2, 3).astype(dtype), "a": np.array(1).astype(dtype), "empty": np.zeros((0, 4), dtype)}
    save_file(tensors, tmp_path / "t.safetensors", metadata={"producer": "us"})
    source = open_weights(tmp_path / "t.safetensors")
    assert source.format == "safetensors" and source.metadata == {"producer": "us"}
    assert set(source.tensors) == set(tensors)
    for name, tensor in tensors.items():
        assert source.tensors[name].shape == tensor.shape and source.tensors[name].num_bytes == tensor.nbytes
        np.testing.assert_array_equal(source.read(name), tensor)
        assert source.read(name).dtype == tensor.dtype


def test_tensors_are_views_that_outlive_the_source(tmp_path: Path) -> None:
    save_file({"a": np.arange(1000, dtype=np.float32)}, tmp_path / "t.safetensors")
    source = SafetensorsFile(str(tmp_path / "t.safetensors"))
    array = source.read("a")
    assert not array.flags.owndata and not array.flags.writeable
    source.close()
    (tmp_path / "t.safetensors").unlink()
    assert array[999] == 999


BAD = {
    "empty": (b"", "the file is empty"),
    "short": (b"\x01\x00\x00", "too few for the header's length"),
    "header longer than the file": (file_of({}, length=1000), "claims 1000 bytes, but only"),
    "header of 4 GiB": (file_of({}, length=1 << 32), "at most 100000000 are allowed"),
    "not an object": (file_of(b"[]"), "does not begin with"),
    "leading space": (file_of(b" {}"), "does not begin with"),
    "not JSON": (file_of(b'{"a":'), "not JSON"),
    "not UTF-8": (file_of(b'{"\xff":1}'), "not JSON"),
    "deeply nested": (file_of(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "not JSON"),
    "the same name twice": (
        file_of(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"x"),
        "occurs twice",
    ),
    "unknown type": (file_of({"a": entry("F99", [1], 0, 1)}, b"x"), "expected dtype"),
    "no offsets": (file_of({"a": {"dtype": "U8", "shape": [1]}}, b"x"), "expected dtype"),
    "negative size": (file_of({"a": entry("U8", [-1], 0, 1)}, b"x"), "expected dtype"),
    "negative zero": (file_of(b'{"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}'), "expected dtype"),
    "boolean size": (file_of(b'{"a":{"dtype":"U8","shape":[true],"data_offsets":[0,1]}}', b"x"), "expected dtype"),
    "shape that overflows": (file_of({"a": entry("F32", [1 << 40, 1 << 40], 0, 4)}, b"xxxx"), "too large"),
    "shape and bytes disagree": (file_of({"a": entry("F32", [2], 0, 4)}, b"xxxx"), "takes 8 bytes, but the offsets give it 4"),
    "offsets the wrong way round": (file_of({"a": entry("U8", [0], 1, 0)}, b"x"), "takes 0 bytes, but the offsets give it -1"),
    "gap": (file_of({"a": entry("U8", [1], 0, 1), "b": entry("U8", [1], 2, 3)}, b"xxx"), "begin at 2, but the tensor before ends at 1"),
    "overlap": (file_of({"a": entry("U8", [2], 0, 2), "b": entry("U8", [2], 1, 3)}, b"xxx"), "begin at 1, but the tensor before ends at 2"),
    "data cut off": (file_of({"a": entry("U8", [4], 0, 4)}, b"xx"), "take 4 bytes, but 2 follow"),
    "data left over": (file_of({"a": entry("U8", [1], 0, 1)}, b"xx"), "take 1 bytes, but 2 follow"),
    "metadata that is not text": (file_of({"__metadata__": {"a": 1}}), "__metadata__ is not an object of strings"),
    "half a byte": (file_of({"a": entry("F4", [3], 0, 1)}, b"x"), "takes 1.5 bytes"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_clear_error(tmp_path: Path, name: str) -> None:
    content, message = BAD[name]
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        open_weights(path)
    assert caught.value.file == str(path)


def test_a_type_without_a_numpy_type_is_listed_but_not_read(tmp_path: Path) -> None:
    (tmp_path / "f4.safetensors").write_bytes(file_of({"a": entry("F4", [2], 0, 1)}, b"x"))
    source = open_weights(tmp_path / "f4.safetensors")
    assert source.tensors["a"].num_bytes == 1
    with pytest.raises(WeightsError, match="type F4 is not supported"):
        source.read("a")
    with pytest.raises(WeightsError, match="no such tensor"):
        source.read("b")


def library_reads(path: Path) -> dict[str, Any] | None:
    """Tensors by name as the library sees them, or None where it refuses the file."""
    try:
        with safe_open(path, "numpy") as file:
            return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError:
        return None


names = st.sampled_from(["a", "b", "c", "__metadata__", ""])
sizes = st.integers(0, 4)
loose_entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["U8", "F16", "F32", "BF16", "F4", "?"]),
        "shape": st.lists(sizes, max_size=3),
        "data_offsets": st.tuples(st.integers(0, 20), st.integers(0, 20)),
    }
)


@st.composite
def packed_headers(draw: st.DrawFn) -> tuple[dict[str, Any], int]:
    """Headers that are right, before mutation: tensors one after another."""
    header, end = {}, 0
    for name in draw(st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True, max_size=4)):
        shape = draw(st.lists(sizes, max_size=3))
        dtype, width = draw(st.sampled_from([("U8", 1), ("F16", 2), ("F32", 4), ("BF16", 2)]))
        size = width * int(np.prod(shape, dtype=np.int64))
        header[name] = entry(dtype, shape, end, end := end + size)
    return header, end


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(packed_headers(), st.tuples(st.dictionaries(names, loose_entries, max_size=3), st.integers(0, 30))), st.data())
def test_accepts_exactly_what_the_library_accepts(tmp_path: Path, header: tuple[dict[str, Any], int], data: st.DataObject) -> None:
    content = bytearray(file_of(header[0], bytes(header[1])))
    for _ in range(data.draw(st.integers(0, 2))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    path = tmp_path / "t.safetensors"
    path.write_bytes(content)
    expected = library_reads(path)
    try:
        ours = {name: list(info.shape) for name, info in SafetensorsFile(str(path)).tensors.items()}
    except WeightsError as error:
        assert expected is None or "twice" in str(error)
        return
    assert ours == expected


def test_every_tensor_of_a_real_model_equals_the_librarys(tmp_path: Path) -> None:
    from tests.encoder.tiny_bert import TinyBert

    folder = TinyBert(dtype="F16").write(tmp_path)
    source = open_weights(folder / "model.safetensors")
    for name, tensor in load_file(folder / "model.safetensors").items():
        np.testing.assert_array_equal(source.read(name), tensor)
