"""Ids of chunks: the document's, and the beginning of the hash of the text that the model is given. An id never gets another vector."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

DIGITS = (12, 16, 24, 32)  # hex digits; more of them where two texts of one document begin alike


def chunk_ids(documents: Sequence[int], names: Sequence[str], hashes: Sequence[str]) -> list[str]:
    """documents: [N] number of each chunk's document, those of one in a run. names: [N] its id. hashes: [N] text_hash."""
    ids, taken, times, current = list[str](), dict[str, str](), dict[str, int](), -1
    for document, name, digest in zip(documents, names, hashes, strict=True):
        if document != current:
            taken, times, current = {}, {}, document
        short = next(digest[:digits] for digits in DIGITS if taken.setdefault(digest[:digits], digest) == digest)
        times[digest] = times.get(digest, 0) + 1
        ids.append(f"{name}#{short}" + (f"~{times[digest]}" if times[digest] > 1 else ""))
    return ids


def documents_of(ids: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """ids: of chunks. The ids of their documents, as text."""
    return pc.replace_substring_regex(ids, r"#[0-9a-f]+(~[0-9]+)?$", "")
