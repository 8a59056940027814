"""A hash of ids, for spreading them over buckets and finding them again. It is no digest: ids that collide are told apart by whoever uses it."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

from embermill.jobs.shard.contents import string_buffers

LONGEST = 256  # bytes of an id that is hashed together with all others; longer ones are rare and go one by one
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MASKS = np.array([(1 << (8 * count)) - 1 for count in range(9)], np.uint64)  # keeps the first `count` bytes of a little-endian word


def hash_ids(ids: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """[N] uint64, the same for an id in every version. ids: strings or integers, without nulls."""
    chunks = ids.chunks if isinstance(ids, pa.ChunkedArray) else [ids]
    return np.concatenate([_hash_chunk(chunk) for chunk in chunks]) if chunks else np.empty(0, np.uint64)


def bucket_of(ids: pa.Array | pa.ChunkedArray, buckets: int) -> np.ndarray:
    """[N] int32 in [0, buckets). buckets: a power of two."""
    if buckets == 1:
        return np.zeros(len(ids), np.int32)
    found: np.ndarray = (hash_ids(ids) >> np.uint64(64 - (buckets - 1).bit_length())).astype(np.int32)
    return found


def _hash_chunk(ids: pa.Array) -> np.ndarray:
    if pa.types.is_integer(ids.type):
        return _mix(ids.cast(pa.int64(), safe=False).to_numpy(zero_copy_only=False).view(np.uint64))
    data, offsets = string_buffers(ids)
    starts, lengths = offsets[:-1].astype(np.int64), np.diff(offsets).astype(np.int64)
    used = np.frombuffer(data, np.uint8)
    words = np.lib.stride_tricks.as_strided(_padded(used), (len(used) + 1, 8), (1, 1))  # the eight bytes from each byte on
    hashes = _mix(lengths.view(np.uint64))
    rows = np.flatnonzero(lengths <= LONGEST)
    for place in range(0, LONGEST, 8):
        rows = rows[lengths[rows] > place]
        if not len(rows):
            break
        word = np.ascontiguousarray(words[starts[rows] + place]).view("<u8").reshape(-1)
        with np.errstate(over="ignore"):
            hashes[rows] = _mix(hashes[rows] + (word & _MASKS[np.minimum(lengths[rows] - place, 8)]))
    for row in np.flatnonzero(lengths > LONGEST).tolist():
        digest = hashlib.blake2b(data[offsets[row] : offsets[row + 1]], digest_size=8).digest()
        hashes[row] = int.from_bytes(digest, "little")
    return hashes


def _padded(data: np.ndarray) -> np.ndarray:
    return np.concatenate([data, np.zeros(8, np.uint8)])


def _mix(values: np.ndarray) -> np.ndarray:
    """A permutation of the 64-bit integers whose high bits depend on all bits (splitmix64)."""
    with np.errstate(over="ignore"):
        mixed = values + _STEP
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        found: np.ndarray = mixed ^ (mixed >> np.uint64(31))
    return found
