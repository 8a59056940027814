"""Digests of many strings at once: text_hash, and the keys by which equal ids are found."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.corpus.rows import RowBatch, RowSchema
from embermill.jobs.shard.contents import string_buffers

DIGEST_BYTES = 16


def hash_texts(texts: pa.Array) -> pa.Array:
    """text_hash of each: BLAKE2b with a 16-byte digest, as 32 hex digits. texts: string [N], joined, before prompt and truncation."""
    offsets = np.arange(0, 2 * DIGEST_BYTES * len(texts) + 1, 2 * DIGEST_BYTES, dtype=np.int32)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(digest_each(texts).hex().encode()))


def hash_documents(batch: RowBatch, schema: RowSchema) -> pa.Array:
    """document_hash of each: of its text, and with `chunk.prefix_columns` of their values too, which are a part of every chunk that is embedded.

    batch: of documents, as schema.of_documents reads them.
    """
    hashes = hash_texts(batch.texts)
    if not schema.prefix:
        return hashes
    columns = [hash_texts(pc.fill_null(column, "")) for column in batch.kept[len(schema.kept) :]]
    return hash_texts(pc.binary_join_element_wise(hashes, *columns, pa.scalar("")))


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
