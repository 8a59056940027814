"""Pieces of corpus files: ranges of rows or bytes, cut by the bytes of text that are expected in them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from embermill.jobs.partition import Segment

MAX_RANGES_PER_ROW_GROUP = 16  # pyarrow has no row seek: each range decodes its group from the start


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment and the bytes of text that are expected in it."""

    segment: Segment
    text_bytes: int


def cut_rows(group_rows: int, text_bytes: int, target_bytes: int) -> list[tuple[int, int]]:
    """One Parquet row group -> row ranges [start, end) within it: the whole group where it is small enough, at most 16 ranges of a large one."""
    if group_rows == 0:
        return []
    ranges = min(MAX_RANGES_PER_ROW_GROUP, group_rows, max(1, -(-text_bytes // target_bytes)))
    return _even(group_rows, ranges)


def cut_bytes(size: int, text_bytes: int, target_bytes: int) -> list[tuple[int, int]]:
    """A file of lines -> byte ranges, wherever they fall: the reader moves each cut to the next line's start."""
    return _even(size, min(size, max(1, -(-text_bytes // target_bytes)))) if size else []


def _even(total: int, ranges: int) -> list[tuple[int, int]]:
    cuts = [total * number // ranges for number in range(ranges + 1)]
    return list(pairwise(cuts))
