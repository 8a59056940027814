"""Ranges cover each line exactly once wherever they cut; only \\n and \\r\\n end a line."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embermill.jobs.corpus.lines import DamagedStream, LineBlock, LongLine, bounds, line_blocks, open_text, range_blocks, strings
from embermill.jobs.errors import InputChanged
from embermill.jobs.storage import open_input
from embermill.jobs.storage.local import file_info
from tests.jobs.corpus.corpus_files import compress, read, schema, segment

TEXT = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\r", b"\n\n", b"\xef\xbb\xbf", "é\u2028\x85\x0b".encode(), b"x" * 40]), max_size=30).map(
    b"".join
)


def expected(data: bytes) -> list[tuple[int, bytes]]:
    """(offset, content) of every line, the slow way."""
    lines, offset = [], 0
    while offset < len(data):
        end = data.find(b"\n", offset)
        content = data[offset:] if end < 0 else data[offset:end].removesuffix(b"\r")
        lines.append((offset, content.removeprefix(b"\xef\xbb\xbf") if offset == 0 else content))
        offset = len(data) if end < 0 else end + 1
    return lines


def lines_of(blocks: Any) -> list[tuple[int, bytes]]:
    found = []
    for block in blocks:
        assert isinstance(block, LineBlock)
        starts, ends = bounds(block)
        contents = strings(block.data, starts, ends).cast("binary").to_pylist()
        assert contents == [block.data[start:end] for start, end in zip(starts, ends, strict=True)]
        found += [
            (0 if start == 3 and block.offset == 0 and block.data[:3] == b"\xef\xbb\xbf" else int(start) + block.offset, content)
            for start, content in zip(starts, contents, strict=True)
        ]
    return found


class Memory(io.BytesIO):
    size = 0

    def check(self) -> None:
        pass


@given(data=TEXT, cuts=st.lists(st.integers(0, 200), max_size=6), block_bytes=st.integers(1, 50))
def test_any_cut_covers_each_line_once(data: bytes, cuts: list[int], block_bytes: int) -> None:
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    found = [line for start, end in pairwise(edges) for line in lines_of(range_blocks(Memory(data), start, end, 1000, block_bytes))]
    assert found == expected(data)


@given(data=TEXT, block_bytes=st.integers(1, 50))
def test_front_to_back(data: bytes, block_bytes: int) -> None:
    assert lines_of(line_blocks(Memory(data), 0, None, 1000, block_bytes)) == expected(data)


@given(data=TEXT, cuts=st.lists(st.integers(0, 200), max_size=4), block_bytes=st.integers(1, 20), limit=st.integers(20, 45))
def test_a_long_line_is_passed_over_and_its_neighbours_are_kept(data: bytes, cuts: list[int], block_bytes: int, limit: int) -> None:
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    blocks = [block for start, end in pairwise(edges) for block in range_blocks(Memory(data), start, end, limit, block_bytes)]
    found = {offset: content for block in blocks if isinstance(block, LineBlock) for offset, content in lines_of([block])}
    long = {block.offset: block.length for block in blocks if isinstance(block, LongLine)}
    raw_lengths = {offset: len(data[offset:].split(b"\n")[0]) + (b"\n" in data[offset:]) for offset, _ in expected(data)}
    assert found | {offset: None for offset in long} == {offset: None if offset in long else content for offset, content in expected(data)}
    assert all(raw_lengths[offset] == length > limit for offset, length in long.items())
    assert all(raw_lengths[offset] <= limit + block_bytes for offset in found)


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
class TestCompressed:
    def test_several_members(self, tmp_path: Path, codec: str) -> None:
        path = tmp_path / "x"
        path.write_bytes(compress(b"one\ntw", codec) + compress(b"o\nthree", codec))
        found = read(segment(path, "text", compression=codec), schema(id_column=None))
        assert found.rows == {0: ("x:0", "one"), 1: ("x:1", "two"), 2: ("x:2", "three")}

    @pytest.mark.parametrize(
        "damage", [lambda data: data[:-9], lambda data: data[: len(data) // 2], lambda data: b"no such format", lambda data: data + b"xyz" * 9]
    )
    def test_damage_is_an_error_that_names_the_file(self, tmp_path: Path, codec: str, damage: Any) -> None:
        path = tmp_path / "x"
        path.write_bytes(damage(compress(b"".join(b"line %d\n" % n for n in range(10_000)), codec)))
        with pytest.raises(DamagedStream, match=str(path)):
            read(segment(path, "text", compression=codec), schema(id_column=None))
        found = read(segment(path, "text", compression=codec), schema(id_column=None, bad_file="quarantine"))
        assert found.reasons == ["unreadable_file"] and found.texts == [f"line {n}" for n in range(len(found.texts))]
        assert found.refused[0].first_row == len(found.texts)

    def test_a_file_that_changed_is_no_damaged_file(self, tmp_path: Path, codec: str) -> None:
        path = tmp_path / "x"
        path.write_bytes(compress(bytes(10_000_000), codec))
        info = file_info(path)
        source = open_input(str(path), info.size, info.version)
        try:
            path.write_bytes(b"other")
            with pytest.raises(InputChanged):
                open_text(source, codec, str(path)).read(1)
        finally:
            source.close()
