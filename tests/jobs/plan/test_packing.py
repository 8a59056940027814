"""Partitions: every range in exactly one, in order, of the size that was asked for, with ids that follow from content alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embermill.jobs.corpus.pieces import MAX_RANGES_PER_ROW_GROUP, Piece, cut_bytes, cut_rows
from embermill.jobs.partition import Partition, Segment, partition_id
from embermill.jobs.plan.packing import MAX_SEGMENTS, SEGMENT_COST_BYTES, pack

SEGMENT = Segment("/corpus/a.jsonl", "a.jsonl", "jsonl", None, 100, "17", "bytes", 0, 100)


@given(total=st.integers(0, 10_000), text_bytes=st.integers(0, 10**9), target=st.integers(1, 10**7))
def test_cuts_cover_everything_once(total: int, text_bytes: int, target: int) -> None:
    for cuts in (cut_rows(total, text_bytes, target), cut_bytes(total, text_bytes, target)):
        assert [row for start, end in cuts for row in (start, end)][1:-1:2] == [start for start, _ in cuts[1:]]
        assert (cuts[0][0], cuts[-1][1]) == (0, total) if total else cuts == []
        assert all(start < end for start, end in cuts)
    assert len(cut_rows(total, text_bytes, target)) <= MAX_RANGES_PER_ROW_GROUP


@pytest.mark.parametrize(
    ("rows", "text_bytes", "target", "ranges"), [(100, 10, 10, 1), (100, 11, 10, 2), (100, 10**9, 10, 16), (3, 10**9, 10, 3), (5, 0, 10, 1)]
)
def test_groups_stay_whole_where_they_are_small_enough(rows: int, text_bytes: int, target: int, ranges: int) -> None:
    assert len(cut_rows(rows, text_bytes, target)) == ranges


@st.composite
def pieces(draw: st.DrawFn) -> list[Piece]:
    found: list[Piece] = []
    for number in range(draw(st.integers(0, 5))):
        size = draw(st.integers(0, 50))
        kind = draw(st.sampled_from(["rows", "bytes", "whole"]))
        cuts = [(0, size)] if kind == "whole" else cut_bytes(size, draw(st.integers(0, 100)), 10)
        found += [
            Piece(replace(SEGMENT, path=f"/{number}", name=f"{number}", kind=kind, start=start, end=end), draw(st.integers(0, 5000))) for start, end in cuts
        ]
    return found


@given(pieces(), st.integers(1, 20_000))
def test_every_piece_is_in_exactly_one_partition_in_order(found: list[Piece], target: int) -> None:
    partitions = pack(found, target)
    covered = [(segment.path, unit) for partition in partitions for segment in partition.segments for unit in range(segment.start, segment.end)]
    assert covered == [(piece.segment.path, unit) for piece in found for unit in range(piece.segment.start, piece.segment.end)]
    assert [partition.number for partition in partitions] == list(range(len(partitions)))
    assert sum(partition.text_bytes for partition in partitions) == sum(piece.text_bytes for piece in found)
    sizes = {piece.text_bytes for piece in found}
    assert all(partition.text_bytes <= target or partition.text_bytes in sizes for partition in partitions)


def test_partitions_are_whole_first_and_an_eighth_at_the_end() -> None:
    target, ranges = 8 * 32_768, 8 * 100
    found = [Piece(replace(SEGMENT, size=ranges, start=number, end=number + 1), target // 8 - 200) for number in range(ranges)]
    sizes = [partition.text_bytes for partition in pack(found, target)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > target * 0.9 and sizes[-1] == target // 8 - 200
    assert len(sizes) < 150, "what is far from the end is not cut"


def test_neighbouring_ranges_become_one_segment() -> None:
    halves = [Piece(replace(SEGMENT, end=50), 10), Piece(replace(SEGMENT, start=50), 10)]
    (partition,) = pack(halves, 10_000)
    assert partition.segments == (SEGMENT,)
    first, second = pack(halves, 10 + SEGMENT_COST_BYTES)
    assert [segment.end for segment in (*first.segments, *second.segments)] == [50, 100]


def test_many_tiny_files_make_few_partitions_and_none_opens_too_many() -> None:
    tiny = [Piece(replace(SEGMENT, path=f"/{number}", end=1), 1) for number in range(10_000)]
    assert 10 < len(pack(tiny, 256 << 10)) < 100
    assert len(pack(tiny, 1 << 40)) == -(-10_000 // MAX_SEGMENTS)


def ids(target: int, *segments: Segment) -> list[str]:
    return [partition.id for partition in pack([Piece(segment, 10) for segment in segments], target)]


@pytest.mark.parametrize(
    "change",
    [{"path": "/other"}, {"name": "other"}, {"size": 101}, {"version": "18"}, {"end": 99}, {"kind": "whole"}, {"compression": "gzip"}, {"format": "text"}],
)
def test_the_id_follows_from_everything_that_says_what_is_read(change: dict[str, object]) -> None:
    (before,), (after,) = ids(10**6, SEGMENT), ids(10**6, replace(SEGMENT, **change))  # type: ignore[arg-type]
    assert before != after and len(before) == 8 and int(before, 16) >= 0
    assert ids(10**6, SEGMENT) == [before]


def test_the_id_is_the_same_on_every_machine() -> None:
    assert partition_id((SEGMENT,)) == "f453202c", "a change of this value means a new PLAN_FORMAT"
    assert Partition(0, partition_id((SEGMENT,)), (SEGMENT,), 0).id == partition_id((SEGMENT,))
