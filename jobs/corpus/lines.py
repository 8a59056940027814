"""Lines of a file: whole lines in bounded blocks, by byte range or front to back, plain or decompressed. Lines end at \\n or \\r\\n only.

A line belongs to the range in which its first byte lies, so any cut of a file into ranges covers each line exactly once.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from embermill.jobs.errors import DataError
from embermill.jobs.storage import InputFile

BLOCK_BYTES = 1 << 20
COMPRESSED_BYTES = 256 << 10  # read at a time
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
WIDE_MARKS = ((b"\xff\xfe\0\0", "UTF-32"), (b"\0\0\xfe\xff", "UTF-32"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))
HOLDS_NUL = "the line holds a NUL: it is no text, or not in UTF-8"
MAX_RATIO = 2000  # of text to its compressed bytes: gzip cannot reach it, and only bombs do with zstd
FREE_BYTES = 256 << 20  # that much may come of a few bytes


class ByteStream(Protocol):
    """Bytes of uncompressed text, in order."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class LineBlock:
    """Whole lines, each with its line end (a file's last may have none). offset: of the first byte in the uncompressed text."""

    data: bytes
    offset: int


@dataclass(frozen=True)
class LongLine:
    """A line longer than may be held; its bytes were passed over."""

    offset: int
    length: int


class DamagedStream(DataError):
    """Compressed text that ends early or does not decompress."""


class Decompressed:
    """gzip or zstd, several members too. Raises DamagedStream where the data end early, do not fit their sums or expand beyond all measure."""

    def __init__(self, source: InputFile, compression: str, path: str) -> None:
        self._source, self._path = source, path
        packed = pa.PythonFile(_Lent(source), mode="r")
        self._stream: ByteStream = _Gunzipped(source) if compression == "gzip" else pa.CompressedInputStream(packed, compression)
        self._left = max(FREE_BYTES, MAX_RATIO * source.size)

    def read(self, size: int, /) -> bytes:
        try:
            data: bytes = self._stream.read(size)
        except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            self._source.check()
            raise DamagedStream(f"{self._path}: cannot be decompressed: {error}") from None
        self._left -= len(data)
        if self._left < 0:
            raise DamagedStream(f"{self._path}: expands to more than {MAX_RATIO} times its {self._source.size} bytes: expected text; unpack it first if it is")
        return data


class _Gunzipped:
    """gzip, member after member, and zeros after the last one, with which tapes and block devices pad a file: gzip itself passes over those."""

    def __init__(self, source: InputFile) -> None:
        self._source = source
        self._member: Any = None  # that is being read
        self._data = b""  # read, and not decompressed yet

    def read(self, size: int, /) -> bytes:
        while self._member is not None or self._begin_member():
            if not self._data:
                self._data = self._source.read(COMPRESSED_BYTES)
                if not self._data:
                    raise EOFError("the data end within a gzip member")
            found: bytes = self._member.decompress(self._data, size)
            self._data = self._member.unconsumed_tail
            if self._member.eof:
                self._data, self._member = self._member.unused_data, None
            if found:
                return found
        return b""

    def _begin_member(self) -> bool:
        """False at the end of the file, zeros after the last member left out."""
        first = self._source.tell() == 0
        while not (self._data if first else self._data.lstrip(b"\0")):
            self._data = self._source.read(COMPRESSED_BYTES)
            if not self._data:
                return False
        self._data = self._data if first else self._data.lstrip(b"\0")
        self._member = zlib.decompressobj(wbits=31)
        return True


class _Lent:
    """A file that stays open when the stream over it goes: it must still be checked."""

    closed = False

    def __init__(self, source: InputFile) -> None:
        self.read = source.read

    def close(self) -> None:
        pass


def require_narrow(data: bytes, path: str) -> None:
    """data: a file's beginning. DataError where it says that it is UTF-16 or UTF-32: in those a byte 10 is no line's end, and lines are UTF-8."""
    if found := next((name for mark, name in WIDE_MARKS if data.startswith(mark)), None):
        raise DataError(f"{path}: is {found}, as its byte order mark says, and a file of lines is read as UTF-8: convert it (iconv -f {found} -t UTF-8)")


def nul_rows(block: LineBlock, starts: np.ndarray) -> list[int]:
    """Which lines of a block, as `bounds` found them, hold a NUL."""
    if b"\0" not in block.data:
        return []
    places = np.flatnonzero(np.frombuffer(block.data, np.uint8) == 0)
    found: list[int] = np.unique(np.searchsorted(starts, places, side="right") - 1).tolist()
    return found


def open_text(source: InputFile, compression: str | None, path: str) -> ByteStream:
    return source if compression is None else Decompressed(source, compression, path)


def range_blocks(source: InputFile, start: int, end: int, max_line_bytes: int, block_bytes: int = BLOCK_BYTES) -> Iterator[LineBlock | LongLine]:
    """The lines whose first byte lies in [start, end) of an uncompressed file."""
    first = start
    if start:
        source.seek(start - 1)
        first = _after_next_line_end(source, start - 1, end, block_bytes)
    if first < end:
        source.seek(first)
        yield from line_blocks(source, first, end, max_line_bytes, block_bytes)


def _after_next_line_end(source: InputFile, position: int, end: int, block_bytes: int) -> int:
    """Where the line after the one at `position` begins; `end` or more where it is not in the range any more."""
    while position < end:
        chunk = source.read(block_bytes)
        found = chunk.find(b"\n")
        if found >= 0:
            return position + found + 1
        if not chunk:
            return end
        position += len(chunk)
    return end


def line_blocks(stream: ByteStream, position: int, end: int | None, max_line_bytes: int, block_bytes: int = BLOCK_BYTES) -> Iterator[LineBlock | LongLine]:
    """Whole lines from `position` (where a line begins and the stream stands) up to the last that begins before `end` (None: to the end of the stream)."""
    held: list[bytes] = []  # the beginning of a line that is not complete yet
    held_bytes = 0
    passing = False  # over a line that is too long; its bytes are counted and dropped
    while end is None or position < end:
        chunk = stream.read(block_bytes)
        if not chunk:
            break
        while chunk:
            cut = _cut(chunk, position + held_bytes, end)
            if cut == 0:
                held_bytes += len(chunk)
                passing = passing or held_bytes > max_line_bytes
                held = [] if passing else [*held, chunk]
                break
            if passing:
                cut = chunk.index(b"\n") + 1
                yield LongLine(position, held_bytes + cut)
            else:
                yield LineBlock(b"".join([*held, chunk[:cut]]), position)
            position += held_bytes + cut
            held, held_bytes, passing = [], 0, False
            chunk = chunk[cut:] if end is None or position < end else b""
    if held_bytes and (end is None or position < end):
        yield LongLine(position, held_bytes) if passing else LineBlock(b"".join(held), position)


def _cut(chunk: bytes, offset: int, end: int | None) -> int:
    """How much of a chunk that begins at `offset` belongs to complete lines that begin before `end`; 0 where none is complete."""
    if end is not None and offset + len(chunk) >= end:
        return chunk.find(b"\n", max(0, end - 1 - offset)) + 1 or chunk.rfind(b"\n") + 1
    return chunk.rfind(b"\n") + 1


def bounds(block: LineBlock) -> tuple[np.ndarray, np.ndarray]:
    """Where each line's content starts and ends within the block, [N] int64 each; line ends and a byte order mark at the file's start are no content."""
    data = np.frombuffer(block.data, np.uint8)
    line_ends = np.flatnonzero(data == 10)
    if len(data) and data[-1] != 10:
        line_ends = np.append(line_ends, len(data))
    starts = np.concatenate([[0], line_ends[:-1] + 1]).astype(np.int64) if len(line_ends) else np.empty(0, np.int64)
    ends = line_ends.astype(np.int64)
    carriage = (ends > starts) & (ends < len(data)) & (data[np.maximum(ends - 1, 0)] == 13) if len(data) else np.zeros(0, bool)
    if block.offset == 0 and block.data.startswith(BYTE_ORDER_MARK):
        starts[0] = len(BYTE_ORDER_MARK)
    return starts, ends - carriage


def strings(data: bytes, starts: np.ndarray, ends: np.ndarray) -> pa.Array:
    """The lines [starts, ends) of data, as `bounds` found them, as one string array: UTF-8 unchecked, without an object per line."""
    offsets = np.concatenate([[0], np.cumsum(ends - starts)])
    inside = np.ones(len(data), bool)
    if len(starts):
        line_ends, gaps = ends[:-1], starts[1:] - ends[:-1]  # a gap is one byte, or two with a carriage return
        inside[: starts[0]] = False
        inside[ends[-1] :] = False
        inside[line_ends] = False
        inside[line_ends[gaps == 2] + 1] = False
    wide = offsets[-1] > np.iinfo(np.int32).max
    kind, width = (pa.large_string(), np.int64) if wide else (pa.string(), np.int32)
    content = np.frombuffer(data, np.uint8)[inside]
    return pa.Array.from_buffers(kind, len(starts), [None, pa.py_buffer(offsets.astype(width)), pa.py_buffer(content)])
