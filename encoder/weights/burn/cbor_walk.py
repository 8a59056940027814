"""The part of CBOR that a burnpack header uses: definite lengths, text keys, numbers, booleans and null.

A header is small and all of it is wanted, so this builds plain Python values, with a bound on depth and count, and says where it failed.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError
from typing import Any

from embermill.encoder.errors import WeightsError

MAX_DEPTH = 16  # Burn nests five deep
MAX_VALUES = 2_000_000  # Burn's own limit of 100,000 tensors makes about 1,200,000

_LENGTHS = {24: Struct(">B"), 25: Struct(">H"), 26: Struct(">I"), 27: Struct(">Q")}
_FLOATS = {25: Struct(">e"), 26: Struct(">f"), 27: Struct(">d")}
_SIMPLE = {20: False, 21: True, 22: None}


class CborWalk:
    """One pass over a header. base: where it lies in the file, for messages."""

    def __init__(self, data: bytes, file: str, base: int) -> None:
        self.data, self.file, self.base, self.pos, self.values_left = data, file, base, 0, MAX_VALUES

    def read(self) -> Any:
        """The value at the start of the data. Raises WeightsError with the place of what is wrong."""
        try:
            return self._value(0)
        except (IndexError, StructError):
            raise self._fail("the header ends in the middle of a value", len(self.data)) from None

    def _fail(self, problem: str, pos: int) -> WeightsError:
        return WeightsError(f"damaged burnpack header: {problem}", file=self.file, offset=self.base + pos)

    def _value(self, depth: int) -> Any:
        start = self.pos
        major, low = self.data[start] >> 5, self.data[start] & 31
        self.pos += 1
        if major == 7:
            return self._float_or_simple(low, start)
        count = self._length(low, start)
        if major == 0:
            return count
        if major == 1:
            return -1 - count
        if major == 3:
            return self._text(count, start)
        if major not in (4, 5):
            raise self._fail(f"a value of CBOR type {major}, which burnpack does not use", start)
        if depth >= MAX_DEPTH:
            raise self._fail(f"nested more than {MAX_DEPTH} deep", start)
        if count * (major - 3) > len(self.data) - self.pos:
            raise self._fail(f"a list or map claims {count:,} entries but only {len(self.data) - self.pos:,} bytes are left", start)
        self.values_left -= count
        if self.values_left < 0:
            raise self._fail(f"more than {MAX_VALUES:,} values", start)
        return [self._value(depth + 1) for _ in range(count)] if major == 4 else self._map(count, depth)

    def _length(self, low: int, start: int) -> int:
        if low < 24:
            return low
        if low not in _LENGTHS:
            raise self._fail("an indefinite length, which burnpack does not use", start)
        return int(self._unpack(_LENGTHS[low]))

    def _float_or_simple(self, low: int, start: int) -> Any:
        if low in _FLOATS:
            return self._unpack(_FLOATS[low])
        if low not in _SIMPLE:
            raise self._fail(f"the simple value {low}, which burnpack does not use", start)
        return _SIMPLE[low]

    def _unpack(self, packing: Struct) -> Any:
        (value,) = packing.unpack_from(self.data, self.pos)
        self.pos += packing.size
        return value

    def _text(self, length: int, start: int) -> str:
        if length > len(self.data) - self.pos:
            raise self._fail(f"a string claims {length:,} bytes but only {len(self.data) - self.pos:,} are left", start)
        self.pos += length
        try:
            return str(self.data[self.pos - length : self.pos], "utf-8")
        except UnicodeDecodeError:
            raise self._fail("a string is not UTF-8", start) from None

    def _map(self, count: int, depth: int) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        for _ in range(count):
            start = self.pos
            key = self._value(depth + 1)
            if not isinstance(key, str):
                raise self._fail(f"expected a name, came {str(key)[:40]}", start)
            if key in entries:
                raise self._fail(f"the name {key[:200]!r} comes twice", start)
            entries[key] = self._value(depth + 1)
        return entries
