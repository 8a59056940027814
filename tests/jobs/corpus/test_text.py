"""Plain text: a document a line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from embermill.jobs.errors import DataError
from tests.jobs.corpus.corpus_files import compress, read, schema, segment

POSITIONAL = schema(id_column=None)


def test_lines_by_byte_range_have_byte_offsets(tmp_path: Path) -> None:
    path = tmp_path / "a b%.txt"
    path.write_bytes("\ufeffone\r\n\n  two\u2028still two\rstill two \nlast é".encode())
    found = read([segment(path, "text", kind="bytes", end=9), segment(path, "text", kind="bytes", start=9)], POSITIONAL)
    assert found.rows == {0: ("a b%.txt:0", "one"), 1: ("a b%.txt:8", ""), 2: ("a b%.txt:9", "  two\u2028still two\rstill two "), 3: ("a b%.txt:38", "last é")}


def test_front_to_back_has_row_numbers_and_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.txt.gz"
    path.write_bytes(compress(b"one\nb\xffd\n\nfour", "gzip"))
    found = read(segment(path, "text", compression="gzip", name="sub/x.txt.gz"), POSITIONAL)
    assert found.rows == {0: ("sub/x.txt.gz:0", "one"), 2: ("sub/x.txt.gz:2", ""), 3: ("sub/x.txt.gz:3", "four")}
    (refusal,) = found.refused
    assert (refusal.reason, refusal.first_row, refusal.first_byte, refusal.text_bytes, refusal.file) == ("invalid_utf8", 1, 4, 3, str(path))


@pytest.mark.parametrize("size", [20, 21, 3_000_000])
def test_a_line_above_the_limit_is_refused_alone(tmp_path: Path, size: int) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"before\n" + b"x" * size + b"\nafter\n")
    found = read(segment(path, "text", kind="bytes"), schema(id_column=None, max_text_bytes=20))
    assert found.texts == (["before", "x" * 20, "after"] if size == 20 else ["before", "after"])
    if size > 20:
        assert [(refusal.reason, refusal.first_row, refusal.first_byte) for refusal in found.refused] == [("text_too_long", None, 7)]
        assert found.refused[0].text_bytes in (size, size + 1)


@pytest.mark.parametrize("data", [b"", b"\n", b"\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_next_to_nothing(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(data)
    assert set(read(segment(path, "text"), POSITIONAL).texts) <= {""}


def test_batches_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"".join(b"%d " % n * 30 + b"\n" for n in range(2000)))
    found = read(segment(path, "text", kind="bytes"), POSITIONAL, batch_rows=100, batch_bytes=5000)
    assert found.num_rows == 2000
    assert all(batch.num_rows <= 100 and sum(map(len, batch.texts.to_pylist())) <= 5000 for batch in found.batches)
    assert len(read(segment(path, "text", kind="bytes"), POSITIONAL, batch_bytes=1).batches) == 2000


def test_only_one_column_is_offered(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"one\n")
    with pytest.raises(DataError, match=r"x\.txt: column 'id' is missing"):
        read(segment(path, "text"), schema())


def test_head_reads_the_first_rows_only(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"1\n\xff\n3\n4\n")
    found = read(segment(path, "text", kind="head", end=3), POSITIONAL)
    assert found.num_rows == 3 and found.texts == ["1", "3"]


def test_a_line_with_a_nul_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"\xef\xbb\xbfone\ntw\0o\r\n\0\0\nfour\0")
    refusing = replace(POSITIONAL, refuses_nul=True)
    found = read([segment(path, "text", kind="bytes", end=9), segment(path, "text", kind="bytes", start=9)], refusing)
    assert found.texts == ["one"] and {each.reason for each in found.refused} == {"unparsable_line"}
    assert [each.first_byte for each in found.refused] == [7, 13, 16]
    assert read(segment(path, "text"), POSITIONAL).texts == ["one", "tw\0o", "\0\0", "four\0"]  # of a dataset begun before
