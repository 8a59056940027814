"""Writes burnpack as Burn >= 0.20 does: a CBOR header sorted by name, every tensor at a multiple of 256, in the order given."""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct, pack, unpack
from typing import Any

from embermill.encoder.weights.burn.burnpack import BURNPACK_ALIGNMENT, BURNPACK_MAGIC, BURNPACK_PREFIX, BURNPACK_VERSION, align
from embermill.encoder.weights.burn.ids import id_value
from embermill.encoder.weights.burn.record_tensor import RecordTensor, TensorToWrite
from embermill.encoder.weights.byte_sink import ByteSink
from embermill.encoder.weights.dtypes import raw_bytes

Leaves = Mapping[str, tuple[str | None, RecordTensor | TensorToWrite]]

_LENGTHS = ((24, None), (1 << 8, Struct(">BB")), (1 << 16, Struct(">BH")), (1 << 32, Struct(">BI")), (1 << 64, Struct(">BQ")))


def write_burnpack(sink: ByteSink, leaves: Leaves, extra: Mapping[str, Any], *, aligned: bool = True) -> int:
    """Writes `leaves` (name -> id and tensor, in data order) and returns the bytes written.

    extra: the header's other entries ("metadata", "scalars"). aligned=False writes what Burn 0.19 did, which Burn >= 0.20 misreads.
    """
    step = BURNPACK_ALIGNMENT if aligned else 1
    entries: dict[str, dict[str, Any]] = {}
    end = 0
    for name, (id, tensor) in leaves.items():
        start = align(end, step)
        end = start + tensor.num_bytes
        entries[name] = {"dtype": tensor.spelling or tensor.dtype, "shape": list(tensor.shape), "data_offsets": [start, end]}
        if id is not None and (value := id_value(id)) is not None:
            entries[name]["param_id"] = value
    header = encode_cbor({"tensors": dict(sorted(entries.items())), **extra})
    sink.write(BURNPACK_PREFIX.pack(BURNPACK_MAGIC, BURNPACK_VERSION, len(header)) + header)
    written = BURNPACK_PREFIX.size + len(header)
    data_start = align(written, step)
    for name, (_, tensor) in leaves.items():
        start = data_start + entries[name]["data_offsets"][0]
        sink.write(bytes(start - written))
        sink.write(raw_bytes(tensor.load()))
        written = start + tensor.num_bytes
    return written


def encode_cbor(value: Any) -> bytes:
    """`value` in the smallest CBOR encoding, as ciborium writes it. value: None, bool, int, float, str, list or dict with text keys."""
    if value is None or isinstance(value, bool):
        return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[value]
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, str):
        text = value.encode()
        return _head(3, len(text)) + text
    if isinstance(value, dict):
        return _head(5, len(value)) + b"".join(encode_cbor(key) + encode_cbor(entry) for key, entry in value.items())
    return _head(4, len(value)) + b"".join(map(encode_cbor, value))


def _head(major: int, number: int) -> bytes:
    for low, (limit, packing) in enumerate(_LENGTHS, start=23):
        if number < limit:
            return bytes([major << 5 | number]) if packing is None else packing.pack(major << 5 | low, number)
    raise OverflowError(f"{number} is beyond CBOR's 64 bits")


def _float(value: float) -> bytes:
    """The shortest of 16, 32 and 64 bits that keeps the value."""
    for marker, code in ((0xF9, ">e"), (0xFA, ">f")):
        try:
            if unpack(code, pack(code, value))[0] == value:
                return bytes([marker]) + pack(code, value)
        except OverflowError:
            continue
    return b"\xf9\x7e\x00" if value != value else b"\xfb" + pack(">d", value)
