"""Burnpack files written by real Burn 0.21 and 0.22: equal to what cbor2 sees, re-encoded byte for byte; both alignments."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embermill.encoder.errors import WeightsError
from embermill.encoder.weights.burn.burnpack import BURNPACK_PREFIX, Burnpack, open_burnpack, read_burnpack
from embermill.encoder.weights.burn.burnpack_writer import encode_cbor, write_burnpack
from embermill.encoder.weights.burn.cbor_walk import CborWalk
from embermill.encoder.weights.burn.record_tensor import RecordTensor
from tests.encoder.weights.burn_files import BERTS, BURNPACKS, FIXTURES

headers = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 64), (1 << 64) - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)


def rewritten(pack: Burnpack, aligned: bool) -> bytes:
    sink = io.BytesIO()
    written = write_burnpack(sink, pack.leaves, {key: value for key, value in pack.header.items() if key != "tensors"}, aligned=aligned)
    assert written == len(sink.getvalue())
    return sink.getvalue()


@pytest.mark.parametrize("path", BURNPACKS)
def test_reads_the_header_as_cbor2_does(path: Path) -> None:
    pack, data = open_burnpack(str(path)), path.read_bytes()
    size = BURNPACK_PREFIX.unpack_from(data)[2]
    header = cbor2.loads(data[10 : 10 + size])
    assert pack.header == header
    assert pack.aligned and pack.trailing_bytes == 0
    start = -(-(10 + size) // 256) * 256
    for name, entry in header["tensors"].items():
        first, last = entry["data_offsets"]
        assert pack.read(name).tobytes() == data[start + first : start + last]
        assert list(pack.tensors[name].shape) == entry["shape"]


@pytest.mark.parametrize("path", BURNPACKS)
def test_reencodes_byte_for_byte(path: Path) -> None:
    assert rewritten(open_burnpack(str(path)), aligned=True) == path.read_bytes()


@pytest.mark.parametrize("path", BURNPACKS)
def test_burn_0_19_packed_without_gaps_under_the_same_version(path: Path) -> None:
    aligned = open_burnpack(str(path))
    packed = read_burnpack(rewritten(aligned, aligned=False), "packed.bpk")
    assert not packed.aligned
    assert packed.leaves == aligned.leaves
    assert rewritten(packed, aligned=False) == rewritten(aligned, aligned=False)


@pytest.mark.parametrize("model", BERTS)
def test_holds_what_burn_printed(model: str) -> None:
    pack = open_burnpack(str(FIXTURES / "bert" / model / "bert.bpk"))
    for line in (FIXTURES / "bert" / model / "burn_params.jsonl").read_text().splitlines():
        row = json.loads(line)
        array = pack.read(row["name"])
        assert list(array.shape) == row["shape"]
        assert array.reshape(-1)[:4].tolist() == row["first"]
        assert abs(float(array.astype(np.float64).sum()) - row["sum"]) < 1e-9


@given(headers)
def test_headers_encode_and_decode_as_cbor2_does(header: Any) -> None:
    encoded = encode_cbor(header)
    assert encoded == cbor2.dumps(header, canonical=False) or cbor2.loads(encoded) == header
    assert CborWalk(encoded, "header", 0).read() == header


def test_floats_take_the_fewest_bits_that_keep_them() -> None:
    assert [len(encode_cbor(value)) for value in (1.5, 1e5, 0.1, float("inf"), float("nan"))] == [3, 5, 9, 3, 3]


def test_scalars_and_missing_ids_survive() -> None:
    leaves = {"b": (None, RecordTensor.of(np.arange(3, dtype="<f4"))), "a": ("0400000000000", RecordTensor.of(np.zeros((2, 0), "<f2")))}
    sink = io.BytesIO()
    extra = {"metadata": {"k": "v"}, "scalars": {"step": {"UInt": 7}, "lr": {"Float": 0.1}}}
    write_burnpack(sink, leaves, extra)
    pack = read_burnpack(sink.getvalue(), "x.bpk")
    assert {key: value for key, value in pack.header.items() if key != "tensors"} == extra
    assert list(pack.header["tensors"]) == ["a", "b"]
    assert pack.tensors["a"].id == "0400000000000" and pack.tensors["b"].id is None
    assert pack.leaves == leaves


def test_no_tensors_at_all() -> None:
    sink = io.BytesIO()
    write_burnpack(sink, {}, {})
    assert read_burnpack(sink.getvalue(), "empty.bpk").tensors == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:8], "not a burnpack"),
        (lambda data: b"NRUC" + data[4:], "not a burnpack"),
        (lambda data: data[:4] + b"\x02\x00" + data[6:], "version 2"),
        (lambda data: data[:6] + b"\xff\xff\xff\xff" + data[10:], "claims 4,294,967,295 bytes"),
        (lambda data: data[:-1], "truncated"),
        (lambda data: data[:10] + b"\xbf" + data[11:], "indefinite length"),
        (lambda data: data[:10] + b"\x81" * 40 + data[50:], "nested more than 16 deep"),
        (lambda data: data.replace(b"ldata_offsets", b"ldata_offset\xff"), "not UTF-8"),
        (lambda data: data.replace(b"ldata_offsets", b"ldata_offsetz"), "expected data_offsets"),
        (lambda data: data.replace(b"ldata_offsets\x82\x00\x0c", b"ldata_offsets\x82\x0d\x0c"), "expected data_offsets"),
        (lambda data: data.replace(b"cF32", b"cF33"), "unknown element type"),
        (lambda data: data.replace(b"eshape\x81\x03", b"eshape\x81\x04"), "needs 16 bytes but 12"),
        (lambda data: data.replace(b"ab\xa3", b"aa\xa3"), "comes twice"),
    ],
)
def test_damage_is_named(change: Any, words: str) -> None:
    sink = io.BytesIO()
    tensor = RecordTensor.of(np.arange(3, dtype="<f4"))
    write_burnpack(sink, {"a": (None, tensor), "b": (None, tensor)}, {})
    damaged = change(sink.getvalue())
    with pytest.raises(WeightsError, match=words) as caught:
        read_burnpack(damaged, "bad.bpk")
    assert caught.value.file == "bad.bpk" and caught.value.offset is not None
