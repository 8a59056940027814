"""Writes Burn's named MessagePack records as Burn's own serialiser does: minimal encodings, fields in the order given.

With `alignment` each tensor's data start at a multiple of it in the file: a field `_pad`, which Burn ignores, is put before them.
"""

from __future__ import annotations

from struct import Struct
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np

from embermill.encoder.errors import WeightsError
from embermill.encoder.weights.burn.number_array import write_scalars
from embermill.encoder.weights.burn.record_tensor import RecordTensor, TensorToWrite
from embermill.encoder.weights.byte_sink import ByteSink
from embermill.encoder.weights.dtypes import raw_bytes

MAX_TENSOR_BYTES = (1 << 32) - 1  # MessagePack's lengths have 32 bits; Burn's own writer would wrap around silently

_BYTES_HEADERS = ((1 << 8, Struct(">BB"), 0xC4), (1 << 16, Struct(">BH"), 0xC5), (1 << 32, Struct(">BI"), 0xC6))
_FLOAT32, _FLOAT64 = Struct(">Bf"), Struct(">Bd")


def write_record(sink: ByteSink, tree: Any, *, alignment: int = 1, file: str = "") -> int:
    """Writes `tree` (BurnRecord.tree's form) and returns the bytes written. Raises WeightsError for a tensor of 4 GiB or more."""
    writer = _RecordWriter(sink, alignment, file)
    writer.node(tree)
    writer.flush()
    return writer.written


class _RecordWriter:
    def __init__(self, sink: ByteSink, alignment: int, file: str) -> None:
        self.sink, self.alignment, self.file = sink, alignment, file
        self.written = 0  # bytes given to the sink
        self.pending = bytearray()
        self.packer = msgpack.Packer()
        self.path: list[str] = []

    def flush(self) -> None:
        self.emit(self.pending)
        self.pending = bytearray()

    def emit(self, data: Any) -> None:
        self.sink.write(data)
        self.written += len(data)

    def node(self, node: Any) -> None:
        if isinstance(node, RecordTensor | TensorToWrite):
            self.tensor(node)
        elif isinstance(node, dict):
            self.pending += self.packer.pack_map_header(len(node))
            for key, child in node.items():
                self.pending += self.packer.pack(key)
                self.child(key, child)
        elif isinstance(node, list):
            self.pending += self.packer.pack_array_header(len(node))
            for index, child in enumerate(node):
                self.child(str(index), child)
        elif isinstance(node, np.float32):
            self.pending += _FLOAT32.pack(0xCA, node)
        elif isinstance(node, float):
            self.pending += _FLOAT64.pack(0xCB, node)
        else:  # nil, booleans, integers, strings, byte strings: msgpack's encodings are minimal, as Burn's
            self.pending += self.packer.pack(node)

    def child(self, key: str, node: Any) -> None:
        self.path.append(key)
        self.node(node)
        self.path.pop()

    def tensor(self, tensor: RecordTensor | TensorToWrite) -> None:
        shape = list(tensor.shape)
        if isinstance(tensor, RecordTensor) and tensor.scalars:
            self.pending += self.packer.pack_map_header(2) + self.packer.pack("value") + self.packer.pack_array_header(tensor.array.size)
            self.flush()
            self.written += write_scalars(self.sink, tensor.array)
            self.pending += self.packer.pack("shape") + self.packer.pack(shape)
            return
        if tensor.num_bytes > MAX_TENSOR_BYTES:
            name = ".".join(key for key in self.path if key not in ("item", "param"))
            raise WeightsError(f"{tensor.num_bytes:,} bytes are more than a record can hold (4 GiB a tensor); convert to .bpk", file=self.file, tensor=name)
        start = _bytes_header(tensor.num_bytes)
        fields = self.packer.pack("bytes") + start
        self.pending += self.packer.pack_map_header(4 if self.alignment > 1 else 3)
        if self.alignment > 1:
            self.pending += self.padding(len(fields))
        self.pending += fields
        self.flush()
        self.emit(raw_bytes(tensor.load()))
        self.pending += self.packer.pack("shape") + self.packer.pack(shape) + self.packer.pack("dtype")
        self.node(tensor.spelling or tensor.dtype)

    def padding(self, following: int) -> bytes:
        """The `_pad` field that brings what comes `following` bytes later to a multiple of the alignment."""
        key = self.packer.pack("_pad")
        before = self.written + len(self.pending) + len(key) + following
        for size in (2, 3):
            length = -(before + size) % self.alignment
            if len(_bytes_header(length)) == size:
                break
        else:  # 255 bytes behind a header of three is not the smallest encoding
            length += self.alignment
        return bytes(key + _bytes_header(length) + bytes(length))


def _bytes_header(length: int) -> bytes:
    _, packing, marker = next(row for row in _BYTES_HEADERS if length < row[0])
    return packing.pack(marker, length)
