"""Partition: the unit of work and of retry, made of segments of corpus files. How they are cut: embermill.jobs.plan.packing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from embermill.counts import several
from embermill.jobs.bookkeeping.stored_keys import added, stored_form

PLAN_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Segment:
    """One range of one file.

    kind "rows": [start, end) are 0-based rows (Parquet). kind "bytes": a line belongs to the range in which its first byte lies.
    kind "whole": the file front to back (compressed text, CSV); start and end are 0 and the file's size.
    kind "head": front to back, but only the first `end` rows (--limit). kind "unreadable": one entry in the quarantine, start and end are 0 and 1.
    path: where to read it (absolute path or URL). name: PATH relative to the corpus entry that matched, for positional ids.
    size, version: what was planned; a file that is not that any more is `input_changed`. version: mtime in ns (local) or etag.
    seen: (size, version) of another file that was found there later and whose committed ranges hold the same rows; None: the planned one is read.
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
    seen: tuple[int, str] | None = added(None)  # of this run alone, and never stored

    def planned(self) -> dict[str, object]:
        """What is stored of it."""
        return {name: value for name, value in stored_form(self).items() if name != "seen"}


@dataclass(frozen=True, slots=True)
class Partition:
    """number: its place in the plan (names sort in row order). id: hash of the segments and of the plan's format, 8+ hex digits."""

    number: int
    id: str
    segments: tuple[Segment, ...]
    text_bytes: int  # estimate, what it was packed by


def partition_id(segments: tuple[Segment, ...]) -> str:
    """8 hex digits that follow from the segments and from nothing else."""
    listed = json.dumps([PLAN_FORMAT, *([*segment.planned().values()] for segment in segments)], ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(listed.encode(), digest_size=4).hexdigest()


def describe_partition(partition: Partition) -> str:
    """Which partition that is, for the person at the keyboard."""
    paths = list(dict.fromkeys(segment.path for segment in partition.segments))
    more = f" and {several(len(paths) - 1, 'more file')}" if len(paths) > 1 else ""
    return f"partition {partition.number} ({paths[0] if paths else 'no file'}{more})"
