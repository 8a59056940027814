"""Tensors of Burn < 0.14: a MessagePack array with a number per element.

float32 and float64 elements have one width, so the array is a strided big-endian view and nothing is decoded until asked for.
Integers (which is how half precision travels: the IEEE bits as a number) have widths that differ and are decoded here, a chunk at a time.
Decoded data never exceed EXPANSION_LIMIT times the bytes that they were read from.
"""

from __future__ import annotations

from itertools import islice

import numpy as np

from embermill.encoder.weights.burn import msgpack_walk as mp
from embermill.encoder.weights.burn.msgpack_walk import MsgpackWalk
from embermill.encoder.weights.byte_sink import ByteSink

EXPANSION_LIMIT = 8  # an element of at most 8 bytes comes from at least one byte

_CHUNK = 1 << 14  # elements at a time: what is looked at stays in the cache, and Python numbers stay few
_FIXED = {mp.FLOAT32: (0xCA, ">f4", 5), mp.FLOAT64: (0xCB, ">f8", 9)}  # marker, element, bytes per element


def read_scalars(walk: MsgpackWalk, count: int, float_type: str) -> np.ndarray | None:
    """[count]: the elements of an array whose header was just read, or None (and `pos` unmoved) when they are not all of one kind.

    float_type: "F16" or "BF16" where the file's metadata say so; integers are then bits (uint16). Otherwise they are int32 or int64.
    """
    if count == 0:
        return np.zeros(0, "<u2" if float_type in ("F16", "BF16") else ">f4")
    start = walk.pos
    kind = walk.peek()
    if kind in _FIXED:
        array = _fixed_width(walk, count, *_FIXED[kind])
    elif kind == mp.BOOLEAN:
        array = _booleans(walk, count)
    elif kind == mp.INTEGER:
        candidates = ("<u2", "<i2") if float_type in ("F16", "BF16") else ("<i4", "<i8")
        array = next((found for dtype in candidates if (found := _integers(walk, count, dtype)) is not None), None)
    else:
        array = None
    if array is None:
        walk.pos = start
    return array


def _fixed_width(walk: MsgpackWalk, count: int, marker: int, element: str, width: int) -> np.ndarray | None:
    """A strided view, after a look at every marker."""
    if count * width > walk.end - walk.pos:
        return None
    markers = np.ndarray((count,), "|u1", walk.data, walk.pos, (width,))
    if not all((markers[first : first + _CHUNK] == marker).all() for first in range(0, count, _CHUNK)):
        return None
    array = np.ndarray((count,), element, walk.data, walk.pos + 1, (width,))
    walk.pos += count * width
    return array


def _booleans(walk: MsgpackWalk, count: int) -> np.ndarray | None:
    raw = np.ndarray((count,), "|u1", walk.data, walk.pos)
    if not all(((raw[first : first + _CHUNK] & 0xFE) == 0xC2).all() for first in range(0, count, _CHUNK)):
        return None
    walk.pos += count
    return np.asarray(raw == 0xC3)


def _integers(walk: MsgpackWalk, count: int, dtype: str) -> np.ndarray | None:
    """The next `count` values as `dtype`, or None when one is not an integer or does not fit."""
    import msgpack  # type: ignore[import-untyped]  # only files of Burn < 0.14 need it

    unpacker = msgpack.Unpacker(read_size=4 * _CHUNK, max_str_len=0, max_bin_len=0, max_array_len=0, max_map_len=0, max_ext_len=0, max_buffer_size=0)
    array = np.empty(count, dtype)
    fed, done = walk.pos, 0
    try:
        while done < count:
            if fed >= walk.end:
                return None
            unpacker.feed(walk.data[fed : fed + 4 * _CHUNK])
            fed += 4 * _CHUNK
            while chunk := list(islice(unpacker, min(_CHUNK, count - done))):
                if set(map(type, chunk)) != {int}:
                    return None
                array[done : done + len(chunk)] = np.array(chunk, dtype)
                done += len(chunk)
    except (ValueError, OverflowError, msgpack.UnpackException):
        return None
    walk.pos += unpacker.tell()
    return array


def write_scalars(sink: ByteSink, array: np.ndarray) -> int:
    """The elements of `array` as Burn < 0.14 writes them, row-major; returns the bytes written."""
    written = 0
    flat = array.reshape(-1)
    for first in range(0, flat.size, _CHUNK):
        data = _encoded(flat[first : first + _CHUNK])
        sink.write(data)
        written += len(data)
    return written


def _encoded(chunk: np.ndarray) -> bytes:
    kind = chunk.dtype.str[1:]
    for marker, element, width in _FIXED.values():
        if kind == element[1:]:
            rows = np.empty(chunk.size, [("marker", "|u1"), ("element", element)])
            rows["marker"], rows["element"] = marker, chunk
            assert rows.itemsize == width
            return rows.tobytes()
    if kind == "b1":
        return (chunk + np.uint8(0xC2)).astype("|u1").tobytes()
    import msgpack

    numbers = chunk if chunk.dtype.kind in "iu" else np.ascontiguousarray(chunk).view("<u2")
    packed: bytes = msgpack.packb(numbers.tolist())
    return packed[1 if chunk.size < 16 else 3 if chunk.size < 1 << 16 else 5 :]  # without the array's own header
