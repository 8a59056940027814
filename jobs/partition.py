"""Partitions: the unit of work and of retry, cut from a corpus listing by content and never by the number of workers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Segment:
    """One range of one file.

    kind "rows": [start, end) are 0-based rows (Parquet). kind "bytes": a line belongs to the range in which its first byte lies.
    kind "whole": the file front to back (compressed text, CSV); start and end are 0 and the file's size.
    path: where to read it (absolute path or URL). name: PATH relative to the corpus entry that matched, for positional ids.
    size, version: what was planned; a file that is not that any more is `input_changed`. version: mtime in ns (local) or etag.
    """

    path: str
    name: str
    format: str  # "parquet", "jsonl", "csv", "text"
    compression: str | None  # None, "gzip", "zstd"
    size: int
    version: str
    kind: str
    start: int
    end: int


@dataclass(frozen=True)
class Partition:
    """number: its place in the plan (names sort in row order). id: hash of the segments and of the plan's format, 8+ hex digits."""

    number: int
    id: str
    segments: tuple[Segment, ...]
    text_bytes: int  # estimate, what it was packed by
