"""Digests of many strings at once: text_hash, and the keys by which equal ids are found."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pyarrow as pa

from embermill.jobs.shard.contents import string_buffers

DIGEST_BYTES = 16


def hash_texts(texts: pa.Array) -> pa.Array:
    """text_hash of each: BLAKE2b with a 16-byte digest, as 32 hex digits. texts: string [N], joined, before prompt and truncation."""
    offsets = np.arange(0, 2 * DIGEST_BYTES * len(texts) + 1, 2 * DIGEST_BYTES, dtype=np.int32)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(digest_each(texts).hex().encode()))


def digest_each(texts: pa.Array) -> bytearray:
    """The 16-byte BLAKE2b digests of N strings, one after another: [16 * N]."""
    data, offsets = string_buffers(texts)
    fresh = hashlib.blake2b(digest_size=DIGEST_BYTES).copy  # a copy of an empty state costs half of a new one
    digests = bytearray()
    for start, end in itertools.pairwise(offsets.tolist()):
        state = fresh()
        state.update(data[start:end])
        digests += state.digest()
    return digests
