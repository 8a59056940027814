"""A walk over MessagePack that hands out places instead of copies.

`msgpack` copies every byte string that it meets; a weight file is made of them. This walk reads a marker and the number that follows it,
and leaves the payload where it is.
"""

from __future__ import annotations

from struct import Struct
from typing import Any

from embermill.encoder.errors import WeightsError
from embermill.encoder.weights.mapped_file import Buffer

MAP, ARRAY, TEXT, BYTES, INTEGER, FLOAT32, FLOAT64, NIL, BOOLEAN, FOREIGN = (
    "map",
    "array",
    "string",
    "byte string",
    "integer",
    "float32",
    "float64",
    "nil",
    "boolean",
    "extension type",
)


def _markers() -> tuple[tuple[str, Any, Struct | None], ...]:
    """What each of the 256 markers announces: the kind, its immediate value, or how the number behind it is packed."""
    table: list[tuple[str, Any, Struct | None]] = [(FOREIGN, None, None)] * 256
    for n in range(128):
        table[n] = (INTEGER, n, None)
    for n in range(16):
        table[0x80 + n], table[0x90 + n] = (MAP, n, None), (ARRAY, n, None)
    for n in range(32):
        table[0xA0 + n], table[0xE0 + n] = (TEXT, n, None), (INTEGER, n - 32, None)
    table[0xC0], table[0xC2], table[0xC3] = (NIL, None, None), (BOOLEAN, False, None), (BOOLEAN, True, None)
    sized = {0xC4: (BYTES, "B H I"), 0xD9: (TEXT, "B H I"), 0xDC: (ARRAY, "H I"), 0xDE: (MAP, "H I")}
    numbers = {0xCA: (FLOAT32, "f"), 0xCB: (FLOAT64, "d"), 0xCC: (INTEGER, "B H I Q"), 0xD0: (INTEGER, "b h i q")}
    for first, (kind, codes) in (sized | numbers).items():
        for step, code in enumerate(codes.split()):
            table[first + step] = (kind, None, Struct(">" + code))
    return tuple(table)


_MARKERS = _markers()

MAX_NAMES = 256  # remembered; a file with more is read as well, a little slower


class MsgpackWalk:
    """One pass over `data`. `pos`: the next byte; `file`: for messages.

    A read past the end raises IndexError or struct.error where that saves a test per value; `ends_early()` words them.
    """

    __slots__ = ("data", "end", "file", "names", "pos")

    def __init__(self, data: Buffer, file: str) -> None:
        self.data, self.file, self.pos, self.end = data, file, 0, len(data)
        self.names: dict[bytes, str] = {}  # field names seen, as they are stored: a record repeats a few dozen

    def head(self) -> tuple[str, Any]:
        """The kind of the next value, and the value itself, or for a map, array, string or byte string its length; `pos` is then at the payload."""
        kind, immediate, packing = _MARKERS[self.data[self.pos]]
        if packing is None:
            self.pos += 1
            return kind, immediate
        (value,) = packing.unpack_from(self.data, self.pos + 1)
        self.pos += 1 + packing.size
        return kind, value

    def peek(self) -> str:
        """The kind of the next value; `pos` stays."""
        return _MARKERS[self.data[self.pos]][0]

    def field(self) -> str:
        """The field name at `pos`. Raises WeightsError for a value of another kind."""
        start = self.pos
        marker = self.data[start]
        raw = self.data[start : start + marker - 0x9F] if 0xA0 <= marker < 0xC0 else b""
        name = self.names.get(raw)
        if name is not None:
            self.pos += len(raw)
            return name
        kind, length = self.head()
        if kind != TEXT:
            problem = f"expected a field name, came a value of kind {kind}; the file is damaged or is not a Burn record"
            raise WeightsError(problem, file=self.file, offset=start)
        name = self.text(length)
        if raw and len(self.names) < MAX_NAMES:
            self.names[raw] = name
        return name

    def text(self, length: int) -> str:
        """The string of `length` bytes at `pos`."""
        start = self.pos
        self.skip(length, "a string")
        try:
            return str(self.data[start : self.pos], "utf-8")
        except UnicodeDecodeError:
            raise WeightsError("a string is not UTF-8; the file is damaged or is not a Burn record", file=self.file, offset=start) from None

    def skip(self, length: int, what: str) -> None:
        """Moves `pos` past a payload of `length` bytes."""
        if length > self.end - self.pos:
            raise WeightsError(f"{what} claims {length:,} bytes but only {self.end - self.pos:,} are left", file=self.file, offset=self.pos)
        self.pos += length

    def expect_values(self, count: int, what: str) -> None:
        """Refuses a claim of more values than bytes are left: each takes at least one."""
        if count > self.end - self.pos:
            raise WeightsError(f"{what} claims {count:,} values but only {self.end - self.pos:,} bytes are left", file=self.file, offset=self.pos)

    def ends_early(self) -> WeightsError:
        return WeightsError("the file ends in the middle of a value; it is truncated", file=self.file, offset=min(self.pos, self.end))
