"""SafeTensors files, mapped: the header is checked to the last byte, tensors are views until they are touched.

Our own reading rather than the `safetensors` library's, because its NumPy face copies every tensor. The checks are those of the Rust
library: eight bytes of length, a JSON object, offsets that begin at zero and leave neither gap nor overlap, as many bytes as shape and
type ask for, and nothing after the last tensor.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn, Protocol, TypeGuard

import numpy as np

from embermill.encoder.errors import WeightsError
from embermill.encoder.weights.dtypes import numpy_dtype
from embermill.encoder.weights.mapped_file import map_file
from embermill.encoder.weights.source import TensorInfo

MAX_HEADER_BYTES = 100_000_000  # the Rust library's limit

# Bits of one element, for every type that SafeTensors knows; those without a NumPy type are listed but cannot be read.
_BITS = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}


class Refuse(Protocol):
    """Raises WeightsError for this file."""

    def __call__(self, problem: str, offset: int | None = None, tensor: str = "") -> NoReturn: ...


class SafetensorsFile:
    """An open SafeTensors file: a WeightSource. Raises WeightsError, naming file, byte and tensor, for anything the format does not allow."""

    format = "safetensors"

    def __init__(self, path: str) -> None:
        self.path = path
        self._buffer = map_file(path)
        self.metadata, entries, self._data_start = _read_header(path, self._buffer)
        self._starts = {name: start for name, (_, start) in entries.items()}
        self.tensors: Mapping[str, TensorInfo] = {name: info for name, (info, _) in entries.items()}

    def read(self, name: str) -> np.ndarray:
        """The tensor as a read-only view of the mapped file, possibly unaligned."""
        if name not in self.tensors:
            raise WeightsError(f"no such tensor; the file holds {len(self.tensors)}", file=self.path, tensor=name)
        info = self.tensors[name]
        dtype = numpy_dtype(info.dtype)
        if dtype is None:
            raise WeightsError(f"type {info.dtype} is not supported", file=self.path, tensor=name)
        start = self._data_start + self._starts[name]
        if not info.num_bytes:
            return np.empty(info.shape, dtype)
        return np.frombuffer(self._buffer, dtype, math.prod(info.shape), start).reshape(info.shape)

    def close(self) -> None:
        """Let go of the file; arrays that look into it keep it mapped for as long as they live."""
        self._buffer = b""


def _read_header(path: str, buffer: Any) -> tuple[dict[str, str], dict[str, tuple[TensorInfo, int]], int]:
    """metadata, name -> (tensor, its first byte counted from the start of the data) in file order, and where the data start."""

    def refuse(problem: str, offset: int | None = None, tensor: str = "") -> NoReturn:
        raise WeightsError(f"not a valid safetensors file: {problem}", file=path, offset=offset, tensor=tensor)

    if len(buffer) < 8:
        refuse(f"{len(buffer)} bytes are too few for the header's length", 0)
    length = int.from_bytes(buffer[:8], "little")
    if length > MAX_HEADER_BYTES:
        refuse(f"the header claims {length} bytes; at most {MAX_HEADER_BYTES} are allowed", 0)
    data_start = 8 + length
    if data_start > len(buffer):
        refuse(f"the header claims {length} bytes, but only {len(buffer) - 8} follow", 0)
    metadata, raw = _parse_header(bytes(buffer[8:data_start]), refuse)
    entries = {name: _tensor_entry(name, value, refuse) for name, value in raw.items()}
    end = 0
    for name, (info, start) in sorted(entries.items(), key=lambda entry: (entry[1][1], entry[1][1] + entry[1][0].num_bytes)):
        if start != end:
            refuse(f"data begin at {start}, but the tensor before ends at {end}", data_start + start, name)
        end = start + info.num_bytes
    if end != len(buffer) - data_start:
        refuse(f"the tensors take {end} bytes, but {len(buffer) - data_start} follow the header", data_start + min(end, len(buffer) - data_start))
    return metadata, dict(sorted(entries.items(), key=lambda entry: entry[1][1])), data_start


def _parse_header(header: bytes, refuse: Refuse) -> tuple[dict[str, str], dict[str, Any]]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            names = [name for name, _ in pairs]
            raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} occurs twice")
        return result

    if header[:1] != b"{":
        refuse("the header does not begin with '{'", 8)
    try:
        # "-0" is a negative number to the Rust library, and no size
        raw = json.loads(header.decode("utf-8"), object_pairs_hook=unique, parse_int=lambda digits: -1 if digits == "-0" else int(digits))
    except (ValueError, RecursionError) as error:
        refuse(f"the header is not JSON: {error}", 8)
    metadata = raw.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        refuse("__metadata__ is not an object of strings", 8)
    return metadata, raw


def _tensor_entry(name: str, value: object, refuse: Refuse) -> tuple[TensorInfo, int]:
    fields: dict[str, Any] = value if isinstance(value, dict) else {}
    dtype, shape, offsets = fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _BITS or not _is_sizes(shape) or not _is_sizes(offsets) or len(offsets) != 2:
        refuse(f"expected dtype, shape and two data_offsets, got {str(value)[:200]}", 8, name)
    start, end = offsets
    bits = math.prod(shape) * _BITS[dtype]
    if bits >= 1 << 64:
        refuse(f"the shape {shape} is too large", 8, name)
    if bits % 8 or bits // 8 != end - start:
        refuse(f"shape {shape} of {dtype} takes {bits / 8:g} bytes, but the offsets give it {end - start}", 8, name)
    return TensorInfo(name, dtype, tuple(shape), end - start), start


def _is_sizes(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 1 << 64 for size in value)
