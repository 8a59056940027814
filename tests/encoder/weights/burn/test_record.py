"""Records written by real Burn 0.8 to 0.21: decoded to the end, equal to what msgpack and Burn itself say, re-encoded byte for byte."""

from __future__ import annotations

import gzip
import io
import json
import shutil
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from safetensors.numpy import load_file

from embermill.encoder.weights.burn.record import open_burn_record, read_record
from embermill.encoder.weights.burn.record_tensor import RecordTensor
from embermill.encoder.weights.burn.record_writer import write_record
from tests.encoder.weights.burn_files import BERTS, FIXTURES, RECORDS, plain_bytes


def as_msgpack_sees_it(node: Any) -> Any:
    """Our tree in the form in which msgpack.unpackb gives the same file."""
    if isinstance(node, RecordTensor):
        if not node.scalars:
            return {"bytes": node.numpy().tobytes(), "shape": list(node.array.shape), "dtype": node.spelling}
        flat = node.numpy().reshape(-1)
        return {"value": (flat.view("<u2") if node.dtype == "F16" else flat).tolist(), "shape": list(node.array.shape)}
    if isinstance(node, dict):
        return {key: as_msgpack_sees_it(child) for key, child in node.items()}
    return [as_msgpack_sees_it(child) for child in node] if isinstance(node, list) else node


@pytest.mark.parametrize("path", RECORDS)
def test_decodes_as_msgpack_does(path: Path) -> None:
    record = open_burn_record(str(path))
    assert as_msgpack_sees_it(record.tree) == msgpack.unpackb(plain_bytes(path))
    assert record.trailing_bytes == 0
    assert record.format == ("mpk.gz" if path.suffix == ".gz" else "mpk")


@pytest.mark.parametrize("path", RECORDS)
def test_reencodes_byte_for_byte(path: Path) -> None:
    sink = io.BytesIO()
    written = write_record(sink, open_burn_record(str(path)).tree)
    assert sink.getvalue() == plain_bytes(path)
    assert written == len(sink.getvalue())


@pytest.mark.parametrize("alignment", [64, 256, 4096])
@pytest.mark.parametrize("path", RECORDS)
def test_aligned_copy_holds_the_same_at_aligned_places(path: Path, alignment: int) -> None:
    record, sink = open_burn_record(str(path)), io.BytesIO()
    write_record(sink, record.tree, alignment=alignment)
    again = read_record(sink.getvalue(), "aligned.mpk")
    assert again.leaves == record.leaves
    assert all(leaf.scalars or (leaf.offset is not None and leaf.offset % alignment == 0) for _, leaf in again.leaves.values())


@pytest.mark.parametrize(
    ("file", "params"),
    [("0.8/bert_full.mpk.gz", "0.8/params.jsonl"), ("0.13/bert_full.mpk", "0.13/params.jsonl"), ("0.13/bert_full.mpk.gz", "0.13/params.jsonl")],
)
def test_old_eras_hold_what_burn_printed(file: str, params: str) -> None:
    record = open_burn_record(str(FIXTURES / "era" / file))
    printed = [json.loads(line) for line in (FIXTURES / "era" / params).read_text().splitlines()]
    by_id = {info.id: record.read(name) for name, info in record.tensors.items()}
    assert set(by_id) == {row["id"] for row in printed}
    for row in printed:
        assert list(by_id[row["id"]].shape) == row["shape"]
        np.testing.assert_array_equal(by_id[row["id"]].reshape(-1), np.array(row["values"], np.float32))


def test_old_half_precision_is_the_same_model_in_fewer_bits() -> None:
    full, half = (open_burn_record(str(FIXTURES / "era/0.13" / name)) for name in ("bert_full.mpk", "bert_half.mpk"))
    assert {info.dtype for info in half.tensors.values()} == {"F16"}
    for name in full.tensors:
        np.testing.assert_array_equal(half.read(name), full.read(name).astype(np.float16))


@pytest.mark.parametrize("model", BERTS)
@pytest.mark.parametrize("name", ["bert.mpk", "bert.mpk.gz"])
def test_todays_records_hold_what_burn_printed(model: str, name: str) -> None:
    folder = FIXTURES / "bert" / model
    record = open_burn_record(str(folder / name))
    printed = [json.loads(line) for line in (folder / "burn_params.jsonl").read_text().splitlines()]
    assert [row["name"] for row in printed] == list(record.tensors)
    for row in printed:
        array = record.read(row["name"])
        assert list(array.shape) == row["shape"]
        assert fnv1a(array.tobytes()) == row["fnv1a64"]


def fnv1a(data: bytes) -> str:
    digest = 0xCBF29CE484222325
    for byte in data:
        digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"


def test_plain_files_are_views_and_outlive_the_source() -> None:
    folder = FIXTURES / "bert" / BERTS[0]
    record = open_burn_record(str(folder / "bert.mpk"))
    weight = record.read("embeddings.word_embeddings.weight")
    assert weight.base is not None and not weight.flags.writeable and not weight.flags.owndata
    record.close()
    np.testing.assert_array_equal(weight, load_file(folder / "model.safetensors")["embeddings.word_embeddings.weight"])


def test_format_is_told_by_content(tmp_path: Path) -> None:
    disguised = tmp_path / "weights.bin"
    shutil.copy(FIXTURES / "era/0.8/bert_full.mpk.gz", disguised)
    assert open_burn_record(str(disguised)).format == "mpk.gz"


def test_only_the_first_gzip_member_counts(tmp_path: Path) -> None:
    """As Burn's own decoder does it."""
    plain = (FIXTURES / "bert" / BERTS[0] / "bert.mpk").read_bytes()
    file = tmp_path / "two.mpk.gz"
    file.write_bytes(gzip.compress(plain) + gzip.compress(b"something else"))
    assert len(open_burn_record(str(file)).tensors) == len(read_record(plain, "plain.mpk").tensors) > 30


def test_metadata_may_come_after_the_item() -> None:
    """Burn reads keys in any order; what integers mean is then known only at the end."""
    tree = msgpack.unpackb((FIXTURES / "era/0.13/bert_half.mpk").read_bytes())
    swapped = msgpack.packb({"item": tree["item"], "_b": [], "metadata": tree["metadata"]})
    record, straight = read_record(swapped, "swapped.mpk"), open_burn_record(str(FIXTURES / "era/0.13/bert_half.mpk"))
    for name in straight.tensors:
        np.testing.assert_array_equal(record.read(name), straight.read(name))


def test_what_burn_tolerates_is_read() -> None:
    """Unknown fields, any order within a tensor, bytes as an array of numbers, dtype as an enum map, bytes behind the record."""
    tensor = {"note": [1, 2], "dtype": {"F32": None}, "shape": [2], "bytes": list(np.array([1, 2], "<f4").tobytes())}
    data = msgpack.packb({"item": {"layer": {"extra": "x", "weight": {"id": "0400000000000", "param": tensor}}}, "later": 1})
    record = read_record(data + b"garbage", "odd.mpk")
    np.testing.assert_array_equal(record.read("layer.weight"), [1, 2])
    assert record.trailing_bytes == 7
    assert record.metadata == {}


@pytest.mark.parametrize(
    ("spelling", "stored", "expected"),
    [
        ("Bool", b"\x00\x01", np.array([False, True])),
        ({"Bool": "Native"}, b"\x01\x00", np.array([True, False])),
        ({"Bool": "U32"}, b"\x01\0\0\0\0\0\0\0", np.array([1, 0], np.uint32)),
        ("Flex32", np.array([1, 2], "<f4").tobytes(), np.array([1, 2], np.float32)),
        ("I64", np.array([1, -2], "<i8").tobytes(), np.array([1, -2])),
        ("U16", np.array([1, 65535], "<u2").tobytes(), np.array([1, 65535], np.uint16)),
    ],
)
def test_every_element_type_is_read_and_kept(spelling: Any, stored: bytes, expected: np.ndarray) -> None:
    data = msgpack.packb({"item": {"x": {"id": "0400000000000", "param": {"bytes": stored, "shape": [2], "dtype": spelling}}}})
    record = read_record(data, "types.mpk")
    np.testing.assert_array_equal(record.read("x"), expected)
    sink = io.BytesIO()
    write_record(sink, record.tree)
    assert sink.getvalue() == data


@pytest.mark.parametrize("values", [[1, -5, 300, -70000, 2**40], [True, False], [1.5, -2.5], []])
def test_scalar_eras_store_integers_booleans_and_doubles_too(values: list[Any]) -> None:
    tree = {"metadata": {"float": "f64", "int": "i64"}, "item": {"x": {"id": "a", "param": {"value": values, "shape": [len(values)]}}}}
    data = msgpack.packb(tree)
    record = read_record(data, "old.mpk")
    assert record.read("x").tolist() == values
    sink = io.BytesIO()
    write_record(sink, record.tree)
    assert sink.getvalue() == data


def test_bfloat16_of_the_scalar_eras() -> None:
    tree = {"metadata": {"float": "half::bfloat::bf16"}, "item": {"x": {"id": "a", "param": {"value": [0x3F80, 0xC000], "shape": [2]}}}}
    assert read_record(msgpack.packb(tree), "old.mpk").read("x").astype(np.float32).tolist() == [1, -2]


def test_a_long_scalar_tensor_crosses_chunks() -> None:
    values = np.random.default_rng(5).integers(0, 1 << 16, 200_001).tolist()
    data = msgpack.packb({"metadata": {"float": "half::binary16::f16"}, "item": {"x": {"id": "a", "param": {"value": values, "shape": [200_001]}}}, "_b": []})
    record = read_record(data, "long.mpk")
    np.testing.assert_array_equal(record.read("x").view(np.uint16), values)
    sink = io.BytesIO()
    write_record(sink, record.tree)
    assert sink.getvalue() == data
