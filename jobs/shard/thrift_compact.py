"""Thrift's compact protocol, as far as Parquet's footers need it: any struct -> fields, and back to the same bytes.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from typing import Any

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, _MAP, STRUCT = range(1, 13)


class Struct(dict[int, tuple[int, Any]]):
    """Field number -> (type, value), in the order of the fields. Values: int, bytes, (type of items, [items]) or Struct."""

    def value(self, field: int) -> Any:
        return self[field][1]

    def put(self, field: int, value: Any) -> None:
        """Another value of the same type."""
        self[field] = (self[field][0], value)


class Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def struct(self) -> Struct:
        found, field = Struct(), 0
        while head := self._byte():
            kind, step = head & 15, head >> 4
            field = field + step if step else self._zigzag()
            found[field] = (kind, self._value(kind))
        return found

    def _value(self, kind: int) -> Any:
        if kind in (TRUE, FALSE):
            return kind
        if kind in (I16, I32, I64):
            return self._zigzag()
        if kind == BINARY:
            return self._take(self._varint())
        if kind in (LIST, SET):
            head = self._byte()
            size, of = head >> 4, head & 15
            size = self._varint() if size == 15 else size
            return of, [self._byte() if of in (TRUE, FALSE) else self._value(of) for _ in range(size)]
        if kind == STRUCT:
            return self.struct()
        if kind in (BYTE, DOUBLE):
            return self._take(1 if kind == BYTE else 8)
        raise ValueError(f"expected a footer of Parquet, whose structs hold no field of type {kind}")

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _take(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at]

    def _varint(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def _zigzag(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)


def write_struct(struct: Struct) -> bytes:
    out, last = bytearray(), 0
    for field, (kind, value) in struct.items():
        step = field - last
        out += bytes([step << 4 | kind]) if 0 < step <= 15 else bytes([kind]) + _zigzag(field)
        out += b"" if kind in (TRUE, FALSE) else _written(kind, value)
        last = field
    return bytes(out) + b"\0"


def _written(kind: int, value: Any) -> bytes:
    if kind in (I16, I32, I64):
        return _zigzag(value)
    if kind == BINARY:
        return _varint(len(value)) + bytes(value)
    if kind in (LIST, SET):
        of, items = value
        head = bytes([len(items) << 4 | of]) if len(items) < 15 else bytes([15 << 4 | of]) + _varint(len(items))
        return head + b"".join(bytes([item]) if of in (TRUE, FALSE) else _written(of, item) for item in items)
    return write_struct(value) if kind == STRUCT else bytes(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _zigzag(value: int) -> bytes:
    return _varint((value << 1) ^ (value >> 63))
