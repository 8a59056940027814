"""CSV: strings only, and one bad record costs one row."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embermill.jobs.corpus.csv_records import Records, parse_csv
from embermill.jobs.corpus.lines import LineBlock, line_blocks
from embermill.jobs.errors import DataError
from tests.jobs.corpus.corpus_files import Found, compress, read, schema, segment
from tests.jobs.corpus.test_lines import Memory


def found(tmp_path: Path, data: bytes, delimiter: str = ",", **options: object) -> Found:
    path = tmp_path / "x.csv"
    path.write_bytes(data)
    return read(segment(path, "csv"), replace(schema(**options), delimiter=delimiter))  # type: ignore[arg-type]


FIELDS = st.lists(st.sampled_from([*'ab1,"\n é🙂\u2028\x85\x0b\x00;\t', "\r\n", "NA"]), max_size=5).map("".join)


@given(
    table=st.lists(st.tuples(FIELDS, FIELDS, FIELDS), max_size=8), end=st.sampled_from(["\n", "\r\n"]), block_bytes=st.integers(1, 40), quoting=st.booleans()
)
def test_what_a_csv_writer_writes_is_read(table: list[tuple[str, str, str]], end: str, block_bytes: int, quoting: bool) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator=end, quoting=csv.QUOTE_ALL if quoting else csv.QUOTE_MINIMAL).writerows(table)
    data = out.getvalue().encode()
    found = list(parse_csv(line_blocks(Memory(data), 0, None, 10_000, block_bytes), 10_000))
    assert [tuple(fields) for records in found for fields in records.fields] == table
    assert not any(records.faults for records in found)
    sizes = [len(record_written(row, end, quoting)) for row in table]
    assert [offset for records in found for offset in records.offsets] == [sum(sizes[:number]) for number in range(len(sizes))]


LINES = st.sampled_from([b"a,b", b'"q,1",2', b'"two', b'lines",x', b"\xff,1", b'x"y,2', b'"bad"z,1', b"", b"only", b"1,2,3", b"caf\xc3\xa9,1", b'"",""'])


@given(lines=st.lists(LINES, max_size=12), end=st.sampled_from([b"\n", b"\r\n"]), block_bytes=st.integers(1, 60))
def test_many_at_a_time_is_the_same_as_one_by_one(lines: list[bytes], end: bytes, block_bytes: int) -> None:
    data = end.join(lines)
    many = [record for records in parse_csv(line_blocks(Memory(data), 0, None, 1000, block_bytes), 1000) for record in listed(records)]
    parser = parse_csv(line_blocks(Memory(data), 0, None, 1000), 1000)
    assert many == [record for records in iter(parser.first, None) for record in listed(records)]


def listed(records: Records) -> list[object]:
    return [(offset, fields, records.faults.get(row)) for row, (fields, offset) in enumerate(zip(records.fields, records.offsets, strict=True))]


def record_written(row: tuple[str, ...], end: str, quoting: bool) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator=end, quoting=csv.QUOTE_ALL if quoting else csv.QUOTE_MINIMAL).writerow(row)
    return out.getvalue().encode()


def test_strings_only(tmp_path: Path) -> None:
    rows = found(tmp_path, b"\xef\xbb\xbfid,text,k\r\n001,NA,\r\n1e5,null,true\r\n3,,2024-01-01\r\n", kept={"k": pa.string()})
    assert rows.rows == {0: ("001", "NA"), 1: ("1e5", "null"), 2: ("3", "")} and rows.kept == [("",), ("true",), ("2024-01-01",)]


def test_quoted_fields_hold_anything(tmp_path: Path) -> None:
    rows = found(tmp_path, 'text,id\n"two\nlines, ""quoted""\r\n",a\n"é\u2028\x85",b\n'.encode())
    assert rows.rows == {0: ("a", 'two\nlines, "quoted"\r\n'), 1: ("b", "é\u2028\x85")}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"x", "unparsable_line"),
        (b"x,y,z", "unparsable_line"),
        (b"x,caf\xe9", "invalid_utf8"),
        (b'x,"two\nlines \xff"', "invalid_utf8"),
        (b'x,"never closed', "unparsable_line"),
        (b'x,"closed"too early', "unparsable_line"),
        (b'x,"two\nlines",and a third', "unparsable_line"),
    ],
)
def test_one_bad_record_costs_one_row(tmp_path: Path, line: bytes, reason: str) -> None:
    good = b'a,"quoted"\r\nb,plain\r\n'
    rows = found(tmp_path, b"id,text\r\n" + good + line + b"\r\n" + good)
    assert rows.rows == {0: ("a", "quoted"), 1: ("b", "plain"), 3: ("a", "quoted"), 4: ("b", "plain")}
    assert [(refusal.reason, refusal.first_row, refusal.first_byte) for refusal in rows.refused] == [(reason, 2, 9 + len(good))]


def test_an_unclosed_quote_at_the_end_of_the_file_costs_one_row(tmp_path: Path) -> None:
    rows = found(tmp_path, b'id,text\na,"open\n' + b"".join(b"%d,text\n" % n for n in range(1000)))
    assert len(rows.rows) == 1000 and rows.reasons == ["unparsable_line"]


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    assert found(tmp_path, b"id,text\n\na,b\n\r\n\nc,d\n\n").rows == {0: ("a", "b"), 1: ("c", "d")}


@pytest.mark.parametrize("data", [b"", b"\n", b"id,text", b"id,text\n", b"\xef\xbb\xbfid,text\r\n"])
def test_no_rows(tmp_path: Path, data: bytes) -> None:
    assert found(tmp_path, data).num_rows == 0


def test_positional_ids_are_row_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.csv.gz"
    path.write_bytes(compress(b"text\na\n\nb\n", "gzip"))
    assert read(segment(path, "csv", compression="gzip"), schema(id_column=None)).ids == ["x.csv.gz:0", "x.csv.gz:1"]


def test_a_huge_line_is_refused_alone(tmp_path: Path) -> None:
    rows = found(tmp_path, b"id,text\na,b\nx," + b"y" * 3_000_000 + b"\nc,d\n", max_text_bytes=1000)
    assert rows.ids == ["a", "c"] and rows.reasons == ["text_too_long"]


@pytest.mark.parametrize("delimiter", [";", "\t", "|", "é"])
def test_another_delimiter(tmp_path: Path, delimiter: str) -> None:
    text = f'id{delimiter}text\na{delimiter}"two, {delimiter}\nlines"\nb{delimiter}plain\n'
    assert found(tmp_path, text.encode(), delimiter=delimiter).rows == {0: ("a", f"two, {delimiter}\nlines"), 1: ("b", "plain")}


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two columns of one name: text"):
        found(tmp_path, b"id,text,text\na,b,c\n")


def test_offsets_are_exact_with_lone_carriage_returns() -> None:
    (records,) = parse_csv([LineBlock(b'a,"x\ry"\nb,c\n', 0)], 1000)
    assert (records.offsets, records.fields) == ([0, 8], [["a", "x\ry"], ["b", "c"]])


def test_a_record_with_a_nul_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b'id,text\na,b\nb,"two\nli\0nes"\nc,d\n')
    rows = read(segment(path, "csv"), replace(schema(), refuses_nul=True))
    assert rows.ids == ["a", "c"] and rows.reasons == ["unparsable_line"]
    assert read(segment(path, "csv"), schema()).texts == ["b", "two\nli\0nes", "d"]  # of a dataset begun before
