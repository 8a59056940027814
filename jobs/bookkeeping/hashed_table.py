"""A table of the bookkeeping whose name ends in the hash of its content. Who names it says the whole hash too: {"file", "sha256"}.

Such a file is created if absent and never replaced: two writers of the same table write the same file, and a damaged one is known by its name alone.
"""

from __future__ import annotations

import hashlib
import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from embermill.jobs.errors import MetadataDamaged
from embermill.jobs.storage import AlreadyExists, Folder

HASH_DIGITS = 32


def create_hashed(folder: Folder, stem: str, data: bytes, *, remedy: str, suffix: str = ".pq") -> dict[str, str]:
    """Put it at STEM-HASH.pq, where it is not yet: {"file": that name, "sha256"}. MetadataDamaged where something else is there."""
    sha256 = hashlib.sha256(data).hexdigest()
    name = f"{stem}-{sha256[:HASH_DIGITS]}{suffix}"
    try:
        folder.create(name, data)
    except AlreadyExists:
        if folder.read(name) != data:
            raise MetadataDamaged(folder.root, name, "is damaged: its content is not what it is named by", remedy) from None
    return {"file": name, "sha256": sha256}


def read_hashed(folder: Folder, described: dict[str, Any], *, named_by: str, remedy: str) -> bytes:
    """described: as create_hashed returned it. named_by: what holds that, for messages. MetadataDamaged where the file is gone or is another."""
    name = str(described["file"])
    try:
        data = folder.read(name)
    except FileNotFoundError:
        raise MetadataDamaged(folder.root, name, f"is gone, though {named_by} names it", remedy) from None
    if hashlib.sha256(data).hexdigest() != described["sha256"]:
        raise MetadataDamaged(folder.root, name, f"is damaged: its SHA-256 is not the one that {named_by} holds", remedy)
    return data


def encode_table(table: pa.Table, **settings: Any) -> bytes:
    """The same table gives the same bytes. settings: of pyarrow's writer, beside checksums and zstd."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True, **settings)
    return sink.getvalue()


def decode_table(data: bytes) -> pa.Table:
    """ValueError for what is no whole Parquet file: a hash says who wrote a file no more than a checksum does."""
    try:
        with pq.ParquetFile(io.BytesIO(data)) as parquet:  # not read_table, which goes by the metadata of column chunks (see corpus/parquet_chunks.py)
            return parquet.read(use_threads=False)
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"it is not a whole Parquet file: {error}") from error
