"""Reads burnpack, `.bpk`: what Burn >= 0.19 writes through burn-store and the only format of Burn >= 0.22.

Layout, from Burn's source: "NRUB", version (u16), header size (u32), a CBOR header {tensors: {name: {dtype, shape, data_offsets, param_id}},
metadata, scalars}, then the data, to which the offsets are relative. From 0.20.0-pre.5 on the data and every tensor start at a multiple of 256;
before that nothing was aligned, under the same version number, so the two are told apart by where the file ends.
"""

from __future__ import annotations

from struct import Struct
from typing import Any

from embermill.encoder.errors import WeightsError
from embermill.encoder.weights.burn.cbor_walk import CborWalk
from embermill.encoder.weights.burn.ids import id_text
from embermill.encoder.weights.burn.record_tensor import RecordTensor, stored_type, view
from embermill.encoder.weights.burn.tensor_source import LeafSource
from embermill.encoder.weights.mapped_file import Buffer, map_file

BURNPACK_MAGIC = b"NRUB"
BURNPACK_ALIGNMENT = 256
BURNPACK_PREFIX = Struct("<4sHI")  # magic, version, header size
BURNPACK_VERSION = 1
MAX_HEADER_BYTES = 100_000_000  # Burn's own limit


class Burnpack(LeafSource):
    """An open burnpack. header: the decoded CBOR; aligned: False for Burn 0.19 (and 0.20 before pre.5); trailing_bytes: what follows the data."""

    def __init__(self, path: str, header: dict[str, Any], leaves: dict[str, tuple[str | None, RecordTensor]], aligned: bool, trailing_bytes: int) -> None:
        metadata = {key: value for key, value in header.get("metadata", {}).items() if isinstance(value, str)}
        super().__init__(path, "bpk", metadata, leaves)
        self.header, self.aligned, self.trailing_bytes = header, aligned, trailing_bytes


def open_burnpack(path: str) -> Burnpack:
    """The burnpack in `path`, mapped. Raises WeightsError naming file, offset and tensor."""
    return read_burnpack(map_file(path), path)


def read_burnpack(data: Buffer, path: str) -> Burnpack:
    """The burnpack in `data`. path: for messages."""
    header_end, header = _read_header(data, path)
    entries = sorted((_extent(name, entry, path), name) for name, entry in header["tensors"].items())
    extents = [extent for extent, _ in entries]
    start, aligned = _data_start(header_end, extents, len(data), path)
    leaves = {name: _leaf(name, header["tensors"][name], data, start + first, last - first, path) for (first, last), name in entries}
    end = start + max((end for _, end in extents), default=0)
    return Burnpack(path, header, leaves, aligned, max(len(data) - end, 0))


def align(offset: int, alignment: int) -> int:
    """The first multiple of `alignment` that is not below `offset`."""
    return -(-offset // alignment) * alignment


def _read_header(data: Buffer, path: str) -> tuple[int, dict[str, Any]]:
    if data[:4] != BURNPACK_MAGIC or len(data) < BURNPACK_PREFIX.size:
        raise WeightsError(f"not a burnpack file: expected it to start with NRUB, came {bytes(data[:4])!r}", file=path, offset=0)
    _, version, size = BURNPACK_PREFIX.unpack_from(data)
    if version != BURNPACK_VERSION:
        raise WeightsError(f"burnpack version {version}; this reader knows version {BURNPACK_VERSION}", file=path, offset=4)
    end = BURNPACK_PREFIX.size + size
    if size > MAX_HEADER_BYTES or end > len(data):
        raise WeightsError(f"the header claims {size:,} bytes; the file has {len(data):,} and Burn's limit is {MAX_HEADER_BYTES:,}", file=path, offset=6)
    header = CborWalk(bytes(data[BURNPACK_PREFIX.size : end]), path, BURNPACK_PREFIX.size).read()
    parts = [header, header.get("tensors"), header.get("metadata", {})] if isinstance(header, dict) else [header]
    if not all(isinstance(part, dict) for part in parts):
        raise WeightsError("damaged burnpack header: expected a map with a map of tensors", file=path, offset=BURNPACK_PREFIX.size)
    return end, header


def _extent(name: str, entry: Any, path: str) -> tuple[int, int]:
    """The tensor's [start, end) within the data."""
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(offset) is int for offset in offsets) or not 0 <= offsets[0] <= offsets[1]:
        raise WeightsError(f"expected data_offsets [start, end], came {str(offsets)[:80]}", file=path, offset=BURNPACK_PREFIX.size, tensor=name)
    return offsets[0], offsets[1]


def _data_start(header_end: int, extents: list[tuple[int, int]], file_size: int, path: str) -> tuple[int, bool]:
    """(where the data begin, whether they are aligned), from where the file ends: the version number does not tell."""
    data_end = max((end for _, end in extents), default=0)
    gapless = all(start == end for (start, _), (_, end) in zip(extents[1:], extents, strict=False))
    aligned = all(start % BURNPACK_ALIGNMENT == 0 for start, _ in extents)
    start = align(header_end, BURNPACK_ALIGNMENT)
    if not aligned or (gapless and file_size == header_end + data_end != start + data_end):
        start, aligned = header_end, False
    if extents and file_size < start + data_end:
        raise WeightsError(f"the header promises {start + data_end:,} bytes but the file has {file_size:,}; it is truncated", file=path, offset=file_size)
    return start, aligned


def _leaf(name: str, entry: dict[str, Any], data: Buffer, offset: int, length: int, path: str) -> tuple[str | None, RecordTensor]:
    spelling, id = entry.get("dtype"), entry.get("param_id")
    dtype = stored_type(spelling, path, offset, name)
    array = view(data, offset, length, dtype, entry.get("shape"), path, name)
    known = id_text(id) if type(id) is int and 0 <= id < 1 << 64 else None
    return known, RecordTensor(array, dtype, spelling=spelling, offset=offset)
