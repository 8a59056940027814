"""A checksum inside the file that it is of, for the bookkeeping: a file with one flipped bit is known by itself.

The SHA-256 is that of the whole file in which the checksum's own digits are zeros. It lies between two marks, so that a flipped bit in one of them
does not make a file look like one from before there were checksums: those have neither.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Collection, Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

BEGIN, END = b"[embermill sha256 ", b" of all else]"
DIGITS = 64
BLANK = (BEGIN + b"0" * DIGITS + END).decode()
KEY = "checksum"
BLANK_SEAL = {f"embermill.{KEY}": BLANK}  # of a Parquet file's footer, before `seal`


def seal(data: bytes) -> bytes:
    """data: holds BLANK; the last one becomes the checksum."""
    at, view = data.rindex(BLANK.encode()) + len(BEGIN), memoryview(data)
    return b"".join((view[:at], hashlib.sha256(data).hexdigest().encode(), view[at + DIGITS :]))


def broken_seal(data: bytes) -> str:
    """What is wrong with a file by its own checksum; "" where nothing is, or where it has none (files written before there were any)."""
    begin, end = data.rfind(BEGIN), data.rfind(END)
    if begin < 0 and end < 0:
        return ""
    start = begin + len(BEGIN)
    if begin < 0 or end - start != DIGITS:
        return "its checksum cannot be read"
    view, digest = memoryview(data), hashlib.sha256()
    for piece in (view[:start], b"0" * DIGITS, view[end:]):
        digest.update(piece)
    return "" if data[start:end] == digest.hexdigest().encode() else "its checksum is not that of its content"


def sealed_json(document: dict[str, Any]) -> bytes:
    return seal(json.dumps(document | {KEY: BLANK}, indent=1, ensure_ascii=False).encode())


def read_json(data: bytes, keys_before: Collection[str]) -> dict[str, Any]:
    """The document of sealed_json, without its checksum. ValueError for anything else.

    keys_before: those that a document from before there were checksums may have; one with others has lost its checksum.
    """
    if problem := broken_seal(data):
        raise ValueError(problem)
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError(f"expected a JSON object, got {str(found)[:40]!r}")
    if rb"\ud" in data.lower():  # perhaps a surrogate pair of an older writer; half of one could not be written again
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("it holds half a surrogate pair, which is no text") from None
    if found.pop(KEY, None) is None and (strange := sorted(found.keys() - set(keys_before))):
        raise ValueError(f"it has no checksum, and a key {strange[0]!r} that no document without one has")
    return found


def sealed_parquet(table: pa.Table) -> bytes:
    """A small table as a Parquet file; the same table gives the same bytes."""
    return sealed_pieces(table.schema, [table])


def sealed_pieces(schema: pa.Schema, pieces: Iterable[pa.Table]) -> bytes:
    """The same for a table that comes in pieces, each of which becomes a row group: the same pieces give the same bytes."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, version="2.6", compression="zstd", compression_level=1, write_page_checksum=True) as writer:
        for piece in pieces:
            writer.write_table(piece)
        writer.add_key_value_metadata(BLANK_SEAL)
    return seal(sink.getvalue())
