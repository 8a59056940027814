"""What is wrong with a file is said once, with file, offset and tensor; and costs neither time nor memory."""

from __future__ import annotations

import contextlib
import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest

from embermill.encoder.errors import WeightsError
from embermill.encoder.weights import open_weights
from embermill.encoder.weights.burn.gunzip import GZIP_FREE_BYTES
from embermill.encoder.weights.burn.record import MAX_DEPTH, MAX_NODES, open_burn_record, read_record
from tests.encoder.weights.tiny_bert import every_kind

NAME = "encoder.query.weight"


def tensor(**fields: Any) -> dict[str, Any]:
    return {"bytes": b"\0" * 8, "shape": [2], "dtype": "F32"} | fields


def packed(param: Any, **top: Any) -> bytes:
    """A record with one parameter, NAME."""
    return bytes(msgpack.packb({"metadata": {"float": "f32"}, "item": {"encoder": {"query": {"weight": {"id": "0400000000000", "param": param}}}}} | top))


def refused(data: bytes, words: str) -> WeightsError:
    with pytest.raises(WeightsError, match=words) as caught:
        read_record(data, "model.mpk")
    assert caught.value.file == "model.mpk"
    return caught.value


@pytest.mark.parametrize(
    ("param", "words"),
    [
        (tensor(shape=[3]), "needs 12 bytes but 8 are stored"),
        (tensor(shape=[1 << 62]), "needs 18,446,744,073,709,551,616 bytes"),
        (tensor(shape=[1 << 63, 1 << 63, 1 << 63]), "needs"),
        (tensor(bytes=b"", shape=[0, 1 << 63]), "beyond what an array can have"),
        (tensor(bytes=b"\0" * 4, shape=[1] * 200), "beyond what an array can have"),
        (tensor(shape=[-2]), "not a list of sizes"),
        (tensor(shape=[True, 2]), "not a list of sizes"),
        (tensor(shape=2), "not a list of sizes"),
        (tensor(shape=["2"]), "not a list of sizes"),
        (tensor(dtype="F31"), "unknown element type F31"),
        (tensor(dtype=None), "unknown element type"),
        (tensor(dtype={"QFloat": {"value": "Q8S", "mode": "Symmetric"}}), "quantised"),
        (tensor(dtype={"QFloat": {"PerTensorAffine": "QInt8"}}), "quantised"),
        (tensor(dtype={"Bool": "U64"}), "unknown element type"),
        (tensor(bytes="text"), "not a byte string"),
        (tensor(bytes=[1, 2, 300]), "not a byte string"),
        ({"shape": [2], "dtype": "F32"}, "expected a tensor"),
        ({"bytes": b"", "shape": [0]}, "expected a tensor"),
        ({"value": [1.0, 2.0]}, "expected a tensor"),
        ({"value": [1, 2.5], "shape": [2]}, "not all numbers of one kind"),
        ({"value": [1, None], "shape": [2]}, "not all numbers of one kind"),
        ({"value": [1, 2, 3], "shape": [2]}, "does not fit the 3 elements"),
        ({"value": [1, 2], "shape": [1 << 63]}, "does not fit the 2 elements"),
    ],
)
def test_a_tensor_that_is_none(param: Any, words: str) -> None:
    error = refused(packed(param), words)
    assert error.tensor == NAME and error.offset is not None and 0 < error.offset < len(packed(param))


@pytest.mark.parametrize(
    ("data", "words", "offset"),
    [
        (b"", "truncated", 0),
        (b"\x80", "expected a map with metadata and item", 0),
        (b"\x01", "expected a map with metadata and item, came a int", 0),
        (b"\x81\xa4item", "truncated", 6),
        (b"\x81\xa4item\xda\xff\xff", "claims 65,535 bytes but only 0", 9),
        (b"\x81\xa4item\xc6\xff\xff\xff\xffxy", "claims 4,294,967,295 bytes but only 2", 11),
        (b"\x81\xa4item\xdd\xff\xff\xff\xffxy", "an array claims 4,294,967,295 values", 11),
        (b"\x81\xa4item\xdf\xff\xff\xff\xffxy", "a map claims 8,589,934,590 values", 11),
        (b"\x81\xa4item\xdd\xff\xff", "truncated", 6),
        (b"\x81\xa4item\xc1", "the marker 0xc1", 6),
        (b"\x81\xa4item\xd4\x01\x01", "the marker 0xd4", 6),
        (b"\x81\x01\x02", "expected a field name, came a value of kind integer", 1),
        (b"\x81\xa2\xff\xfe\xc0", "not UTF-8", 2),
        (b"\x82\xa4item\xc0\xa4item\xc0", "the field 'item' comes twice", 7),
        (b"\x81\xa4item\x81\xa5value\xdd\xff\xff\xff\xff\xca", "an array claims 4,294,967,295 values", 18),
    ],
)
def test_a_stream_that_is_none(data: bytes, words: str, offset: int) -> None:
    assert refused(data, words).offset == offset


def test_duplicate_fields_of_a_tensor() -> None:
    once = msgpack.packb("dtype") + msgpack.packb("F32")
    data = packed(tensor())
    twice = data.replace(once, once + once).replace(b"\x83\xa5bytes", b"\x84\xa5bytes")
    assert refused(twice, "the field 'dtype' comes twice").tensor == NAME


def test_two_tensors_of_one_name() -> None:
    param = {"id": "a", "param": tensor()}
    data = msgpack.packb({"item": {"a.b": param, "a": {"b": param}}})
    assert refused(data, "two tensors have this name").tensor == "a.b"


@pytest.mark.parametrize("opener", [b"\x91", b"\x81\xa1a", b"\x81\xa5value", b"\x81\xa5bytes\x91"])
def test_depth_bombs(opener: bytes) -> None:
    refused(b"\x81\xa4item" + opener * 1_000_000, f"nested more than {MAX_DEPTH} deep")


def test_the_deepest_record_that_is_allowed() -> None:
    data = b"\x81\xa4item" + b"\x91" * (MAX_DEPTH - 1) + b"\xc0"
    assert read_record(data, "deep.mpk").tensors == {}


def test_floods_of_small_values_are_bounded() -> None:
    """A record may hold much outside tensors, but not without end: each value costs far more in memory than in the file."""
    flood = b"\xdd" + (MAX_NODES + 1).to_bytes(4, "big")
    refused(b"\x81\xa4item" + flood + b"\xc0" * (MAX_NODES + 1), "more than 1,000,000 values")
    refused(b"\x81\xa4item\x81\xa5value" + flood + b"\x01" * (MAX_NODES + 1), "more than 1,000,000 values")


@pytest.mark.parametrize("name", [name for name in every_kind() if name.endswith((".mpk", ".gz"))])
def test_memory_while_refusing_stays_small(name: str) -> None:
    data = every_kind()[name]
    for claim in (b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"):
        for at in range(0, len(data), 211):
            tracemalloc.start()
            with contextlib.suppress(WeightsError):
                read_record(data[:at] + claim + data[at + 1 :], "x.mpk")
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 1 << 20


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty, as after a download that broke off"),
        (b"\x81", "not a weight file that we know"),
        (b"\x1f\x8b", "ends too early"),
        (b"\x1f\x8bgarbage that is no gzip", "the gzip stream is damaged"),
        (gzip.compress(b"\x81\xa4item\x81\xa1x\xc0" + b" " * 500, mtime=0)[:-12], "ends too early|damaged"),
        (b"PK\x03\x04 a zipped pickle", "pickle"),
        (b"\x80\x04\x95 a pickle", "pickle"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "."),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "model.mpk"
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=words) as caught:
        open_weights(file)
    assert caught.value.file == str(file)


def test_checksum_of_gzip_is_verified(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(packed(tensor()), mtime=0))
    data[-5] ^= 1
    (tmp_path / "x.mpk.gz").write_bytes(data)
    with pytest.raises(WeightsError, match="incorrect data check"):
        open_burn_record(str(tmp_path / "x.mpk.gz"))


def test_a_gzip_bomb_is_stopped(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(GZIP_FREE_BYTES + (1 << 22)), 9)
    (tmp_path / "x.mpk.gz").write_bytes(bomb)
    with pytest.raises(WeightsError, match="more than 100 times its size"):
        open_burn_record(str(tmp_path / "x.mpk.gz"))


def test_a_small_file_of_zeros_is_no_bomb(tmp_path: Path) -> None:
    data = packed(tensor(bytes=bytes(1 << 20), shape=[1 << 18]))
    (tmp_path / "x.mpk.gz").write_bytes(gzip.compress(data, 9))
    assert open_burn_record(str(tmp_path / "x.mpk.gz")).read(NAME).shape == (1 << 18,)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.mpk", tmp_path):
        with pytest.raises(WeightsError, match="cannot be read") as caught:
            open_burn_record(str(path))
        assert caught.value.file == str(path)


def test_an_unknown_tensor() -> None:
    record = read_record(packed(tensor()), "model.mpk")
    with pytest.raises(WeightsError, match="no such tensor") as caught:
        record.read("encoder.key.weight")
    assert caught.value.tensor == "encoder.key.weight"


def test_scalar_tensors_decode_within_eight_times_their_bytes() -> None:
    """The worst case: numbers below 128, one byte each, as 64 bits."""
    count = 1 << 20
    values = b"\xdd" + count.to_bytes(4, "big") + b"\x01" * (count - 1) + b"\x7f"
    param = msgpack.packb({"shape": [count]})[1:]
    data = packed(None).replace(b"\xa5param\xc0", b"\xa5param\x82\xa5value" + values + param)
    tracemalloc.start()
    record = read_record(data, "old.mpk")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert record.read(NAME).dtype == np.int32 and record.read(NAME)[-1] == 127
    assert peak < 8 * count + (8 << 20)
