"""Ranges of corpus files -> partitions: packed by content and never by the number of workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

from embermill.jobs.corpus.pieces import Piece
from embermill.jobs.partition import Partition, Segment, partition_id

MAX_SEGMENTS = 4_096  # files that one partition opens, one after another
SEGMENT_COST_BYTES = 1_024  # what opening a file counts for, in bytes of text: ten thousand empty files are some work too
SMALLEST_SHARE = 8  # of a partition: the smallest ones, at the corpus's end, are an eighth
LEFT_SHARE = 16  # a partition takes no more than this part of what is left


def pack(pieces: Iterable[Piece], target_bytes: int) -> tuple[Partition, ...]:
    """Consecutive pieces -> partitions of at most target_bytes bytes of text each (one piece may be larger), in the order they came.

    Towards the end they get smaller, so that workers end together: with equal ones the last to begin keeps all others waiting. The pieces should be
    cut for target_bytes // SMALLEST_SHARE; neighbours in a partition become one range again.
    """
    listed = list(pieces)
    costs = [piece.text_bytes + SEGMENT_COST_BYTES for piece in listed]
    for number, (before, after) in enumerate(pairwise(listed), 1):
        if _adjoin(before.segment, after.segment):
            costs[number] = after.text_bytes  # the file is open already
    return tuple(_partition(number, held) for number, held in enumerate(_fill(listed, costs, target_bytes)))


def _fill(pieces: list[Piece], costs: list[int], target_bytes: int) -> Iterator[list[Piece]]:
    left = sum(costs)
    held: list[Piece] = []
    cost, room = 0, _room(left, target_bytes)
    for piece, adds in zip(pieces, costs, strict=True):
        if held and (cost + adds > room or len(held) == MAX_SEGMENTS):
            yield held
            held, cost, room = [], 0, _room(left, target_bytes)
        held.append(piece)
        cost += adds
        left -= adds
    if held:
        yield held


def _room(left: int, target_bytes: int) -> int:
    """Of the next partition, where so much is left."""
    return max(target_bytes // SMALLEST_SHARE, min(target_bytes, left // LEFT_SHARE))


def _adjoin(before: Segment, after: Segment) -> bool:
    return (before.path, before.kind, before.end) == (after.path, after.kind, after.start) and before.kind in ("rows", "bytes")


def _partition(number: int, pieces: list[Piece]) -> Partition:
    segments = tuple(_joined(piece.segment for piece in pieces))
    return Partition(number, partition_id(segments), segments, sum(piece.text_bytes for piece in pieces))


def _joined(segments: Iterable[Segment]) -> Iterator[Segment]:
    """Neighbouring ranges of one file become one."""
    held: Segment | None = None
    for segment in segments:
        if held is not None and _adjoin(held, segment):
            held = replace(held, end=segment.end)
            continue
        if held is not None:
            yield held
        held = segment
    if held is not None:
        yield held
