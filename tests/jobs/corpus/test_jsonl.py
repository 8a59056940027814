"""JSON lines: Arrow's fast reader and json agree on every line, or the block goes through json."""

from __future__ import annotations

import datetime
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embermill.jobs.corpus.formats import jsonl
from embermill.jobs.corpus.formats.jsonl import read_jsonl
from embermill.jobs.corpus.lines import LineBlock
from embermill.jobs.corpus.rows import RawRows, RowSchema, judge
from tests.jobs.corpus.corpus_files import compress, read, schema, segment

KEPT = {"n": pa.int64(), "f": pa.float64(), "b": pa.bool_(), "l": pa.list_(pa.string()), "s": pa.struct([("x", pa.int64()), ("y", pa.string())])}
TYPED = schema(kept=KEPT, drift="null")
KEYS = ["id", "text", "n", "f", "b", "l", "s", "other"]
TEXTS = st.text(max_size=6) | st.sampled_from(["", "{}", "}{", "\u2028", "\x00", "2024-01-01", "2024-01-01T00:00:00Z", "1", "NaN", ": NaN,", "\ufeff", "é🙂"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.integers(-5, 5) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "y", "text"]), inner, max_size=3),
    max_leaves=6,
)
GOOD = st.fixed_dictionaries(
    {},
    optional={
        "id": TEXTS,
        "text": st.none() | TEXTS,
        "n": st.none() | st.integers(-(2**63), 2**63 - 1),
        "f": st.floats(-(2**52), 2**52) | st.just(math.nan) | st.integers(-9, 9),
        "b": st.booleans(),
        "l": st.none() | st.lists(st.none() | TEXTS, max_size=3),
        "s": st.none() | st.fixed_dictionaries({}, optional={"x": st.integers(-9, 9), "y": TEXTS}),
        "other": TEXTS,
    },
)
ODD = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4)


@st.composite
def lines(draw: st.DrawFn, good: bool = False) -> bytes:
    """One line: a good one, or one that is odd in a way that readers disagree about."""
    text = json.dumps(draw(GOOD if good else GOOD | ODD), ensure_ascii=draw(st.booleans()))
    line = text.encode("utf-8", "replace")
    if good:
        return line
    how = draw(st.sampled_from(["none", "none", "none", "cut", "flip", "twice", "join", "blank", "raw", "token", "duplicate"]))
    if how == "cut":
        return line[: draw(st.integers(0, len(line)))]
    if how == "flip" and line:
        at = draw(st.integers(0, len(line) - 1))
        return (
            line[:at] + draw(st.sampled_from([b"\xff", b"\xfe", b"\x00", b"{", b"}", b'"', b",", b"[", b"\\", b" ", b"\r", b"\xed\xa0\x80"])) + line[at + 1 :]
        )
    if how == "twice":
        return line + draw(st.sampled_from([b"", b" ", b","])) + line
    if how == "blank":
        return draw(st.sampled_from([b"", b" ", b"\t", b"\x0c"]))
    if how == "token":
        token = draw(
            st.sampled_from(
                [
                    b"NaN",
                    b"-NaN",
                    b"Infinity",
                    b"-Infinity",
                    b"Inf",
                    b"-Inf",
                    b"1e400",
                    b"01",
                    b"1.",
                    b"-0",
                    b"1E5",
                    b"1.0",
                    b'"\\ud800"',
                    b'"\\ud83d\\ude00"',
                    b'"\\u0000"',
                    b"tru",
                    b"''",
                    b"18446744073709551615",
                    b"0.1e-7",
                    b"1e-400",
                    b"123456789.123456789e300",
                ]
            )
        )
        key = draw(st.sampled_from(KEYS)).encode()
        return b'{"id":"t","%s":%s}' % (key, token)
    if how == "duplicate":
        return draw(
            st.sampled_from(
                [
                    b'{"id":"1","id":"2","text":"d"}',
                    b'{"id":"1","other":1,"other":2,"text":"d"}',
                    b'{"id":"1","s":{"x":1,"x":2}}',
                    b'{"te\\u0078t":"esc","id":"k"}',
                    b'{"id":"a","text":"b"}{',
                    b'}{"id":"a"}',
                    b'{"id":"q","text":',
                    b'"span"}',
                    b"[1]",
                    b"{}",
                    b"null",
                ]
            )
        )
    return line


def outcome(data: bytes, rows: RowSchema, *, fast: bool) -> Any:
    """Everything that reading one block gives, with or without Arrow's reader."""
    reader = jsonl._BlockReader(rows, "file")
    if not fast:
        reader.fast_schema = None
    raw = reader.read(LineBlock(data, 0))
    batch = judge(raw, rows, path="file", name="file", ordinal=0)
    refused = [(refusal.row, refusal.reason, refusal.first_byte) for refusal in batch.refused]
    return repr((batch.num_rows, batch.rows.tolist(), batch.ids.to_pylist(), batch.texts.to_pylist(), [column.to_pylist() for column in batch.kept], refused))


@settings(max_examples=60, deadline=None)
@given(st.lists(lines(), max_size=6).flatmap(lambda found: st.tuples(st.just(found), st.sampled_from([b"\n", b"\r\n"]), st.booleans())))
def test_arrow_and_json_agree(drawn: tuple[list[bytes], bytes, bool]) -> None:
    found, end, ended = drawn
    data = end.join(found) + (end if ended else b"")
    assert outcome(data, TYPED, fast=True) == outcome(data, TYPED, fast=False)


@settings(max_examples=50, deadline=None)
@given(st.lists(lines(good=True), min_size=1, max_size=6))
def test_good_lines_go_through_arrow(found: list[bytes]) -> None:
    data = b"".join(line + b"\n" for line in found)
    reader = jsonl._BlockReader(TYPED, "file")
    block = LineBlock(data, 0)
    assert reader._fast(block, *jsonl.bounds(block)) is not None  # type: ignore[attr-defined]
    assert outcome(data, TYPED, fast=True) == outcome(data, TYPED, fast=False)


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8(), pa.int32(), pa.uint64(), pa.float64()], ids=str)
@pytest.mark.parametrize(
    "number",
    [b"-0", b"-0 ", b"-0.0", b"-1", b"127", b"300", b"2147483648", b"9007199254740993", b"18446744073709551615", b"1.0", b"1E2", b"true", b"Inf", b"-NaN"],
)
def test_arrow_and_json_agree_on_numbers(kind: pa.DataType, number: bytes) -> None:
    data = b'{"id":"a","text":"x","n":%s}\n{"id":"b","text":"y"}\n' % number
    rows = schema(kept={"n": kind}, drift="null")
    assert outcome(data, rows, fast=True) == outcome(data, rows, fast=False)


def rows_of(data: bytes, rows: RowSchema) -> RawRows:
    (raw,) = read_jsonl([LineBlock(data, 0)], rows, "file", numbered=False)
    assert isinstance(raw, RawRows)
    return raw


PADDING = b"".join(b'{"id":"%d","text":"row %d"}\n' % (n, n) for n in range(3))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id":"x","text":"\xff\xfe"}', "invalid_utf8"),
        (b'{"id":"x","text":"fine","other":"\xff"}', "invalid_utf8"),
        (b'{"id":"x","text":"\\ud800"}', "invalid_utf8"),
        (b'{"id":"x","text":"broken', "unparsable_line"),
        (b'{"id":"x","text":"two"}{"id":"y","text":"objects"}', "unparsable_line"),
        (b'{"id":"x","text":"a"},', "unparsable_line"),
        (b'["id","text"]', "unparsable_line"),
        (b'{"id":"x","n":' + b"[" * 100_000 + b"}", "unparsable_line"),
        (b'{"id":null,"text":"x"}', "null_id"),
        (b'{"text":"x"}', "null_id"),
        (b'{"id":"x"}', "null_text"),
        (b'{"id":"x","text":null}', "null_text"),
    ],
)
def test_one_bad_line_costs_one_row(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(PADDING + line + b"\n" + PADDING)
    found = read(segment(path, "jsonl", kind="bytes"), schema())
    assert found.ids == ["0", "1", "2"] * 2 and found.num_rows == 7
    assert [(refusal.reason, refusal.row, refusal.first_byte, refusal.first_row) for refusal in found.refused] == [(reason, 3, len(PADDING), None)]


def test_what_json_reads_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    data = b'\xef\xbb\xbf{"id":"1","id":"2","text":"last of two"}\r\n\n  \n {"text" : "blanks\\u2028" , "id":"3"} \n{"id":"4","text":"\\ud83d\\ude00","x":NaN}'
    path.write_bytes(data)
    found = read(segment(path, "jsonl", kind="bytes"), schema())
    assert found.rows == {0: ("2", "last of two"), 1: ("3", "blanks\u2028"), 2: ("4", "\U0001f600")}
    second, third = data.index(b" {"), data.index(b'{"id":"4"')
    assert read(segment(path, "jsonl", kind="bytes"), schema(id_column=None)).ids == ["x.jsonl:0", f"x.jsonl:{second}", f"x.jsonl:{third}"]
    path.write_bytes(compress(path.read_bytes(), "zstd"))
    assert read(segment(path, "jsonl", compression="zstd"), schema(id_column=None)).ids == ["x.jsonl:0", "x.jsonl:1", "x.jsonl:2"]


def test_strings_are_never_guessed(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    values = ["2024-01-01", "2024-01-01T00:00:00Z", "001", "1e5", "true", "null", "NA"]
    path.write_text("".join(json.dumps({"id": value, "text": value, "k": value}) + "\n" for value in values))
    found = read(segment(path, "jsonl", kind="bytes"), schema(kept={"k": pa.string()}))
    assert found.ids == found.texts == [value for (value,) in found.kept] == values


class TestDrift:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        (tmp_path / "x.jsonl").write_bytes(
            b'{"id":1,"text":"a","k":1}\n{"id":2,"text":"b","k":"2"}\n{"id":3,"text":"c","k":"three"}\n{"id":4,"text":"d","k":2.5}\n'
        )
        return tmp_path / "x.jsonl"

    def test_fail_refuses_the_row_and_says_what_to_declare(self, path: Path) -> None:
        found = read(segment(path, "jsonl", kind="bytes"), schema(id_type=pa.int64(), kept={"k": pa.int64()}))
        assert (found.ids, found.kept, found.reasons) == ([1], [(1,)], ["column_type"] * 3)
        assert found.refused[1].error == (
            "column 'k': string \"three\" does not fit int64 without loss: fix the line, or set corpus.types: {k: string} and "
            "corpus.on_schema_drift: cast, which takes it as JSON writes it (in a new dataset)"
        )
        assert "double 2.5 does not fit int64 without loss: fix the line, or declare corpus.types: {k: float64}" in found.refused[2].error

    def test_cast_takes_what_can_be_taken(self, path: Path) -> None:
        found = read(segment(path, "jsonl", kind="bytes"), schema(id_type=pa.int64(), kept={"k": pa.int64()}, drift="cast"))
        assert (found.ids, found.kept, found.reasons) == ([1, 2], [(1,), (2,)], ["uncastable"] * 2)
        found = read(segment(path, "jsonl", kind="bytes"), schema(id_type=pa.int64(), kept={"k": pa.string()}, drift="cast"))
        assert found.kept == [("1",), ("2",), ("three",), ("2.5",)]

    def test_null_keeps_the_row(self, path: Path) -> None:
        found = read(segment(path, "jsonl", kind="bytes"), schema(id_type=pa.int64(), kept={"k": pa.int64()}, drift="null"))
        assert (found.ids, found.kept) == ([1, 2, 3, 4], [(1,), (None,), (None,), (None,)])

    def test_ids_are_judged_like_any_other_column(self, tmp_path: Path) -> None:
        (tmp_path / "x.jsonl").write_bytes(b'{"id":1.5,"text":"a"}\n{"id":true,"text":"b"}\n{"id":"c","text":"c"}\n{"id":17,"text":"d"}\n')
        rows, whole = schema(), segment(tmp_path / "x.jsonl", "jsonl", kind="bytes")
        found = read(whole, rows)
        assert (found.ids, found.reasons) == (["c"], ["column_type"] * 3)
        begun_before = replace(rows, json_ids_as_text=True, on_schema_drift="null")
        assert read(whole, begun_before).ids == ["1.5", "true", "c"]

    def test_one_column_used_as_two_types(self, tmp_path: Path) -> None:
        (tmp_path / "x.jsonl").write_bytes(b'{"id":7,"text":"a"}\n')
        found = read(segment(tmp_path / "x.jsonl", "jsonl", kind="bytes"), schema(id_type=pa.int64(), text=("text", "id"), drift="cast"))
        assert found.rows == {0: (7, "a\n7")}


def test_a_huge_line_is_refused_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(PADDING + b'{"id":"x","text":"' + b"y" * 3_000_000 + b'"}\n' + PADDING)
    found = read(segment(path, "jsonl", kind="bytes"), schema(max_text_bytes=1000))
    assert found.ids == ["0", "1", "2"] * 2 and found.reasons == ["text_too_long"] and found.refused[0].first_byte == len(PADDING)


HELD = [  # type, JSON, what is stored of it; MISTYPED where its row is refused
    ("float64", "2", 2.0),
    ("float64", "9007199254740992", 2.0**53),
    ("float64", "9007199254740993", "column_type"),
    ("float64", "1e999", "column_type"),
    ("float64", "Infinity", math.inf),
    ("float64", "1.7976931348623157e308", 1.7976931348623157e308),
    ("float64", "true", "column_type"),
    ("float64", '"2"', "column_type"),
    ("float32", "0.5", 0.5),
    ("float32", "0.1", "column_type"),
    ("float32", "1e300", "column_type"),
    ("int64", "2.0", 2),
    ("int64", "0.5", "column_type"),
    ("int64", "1e17", "column_type"),
    ("int64", "9223372036854775808", "column_type"),
    ("uint64", "18446744073709551615", 2**64 - 1),
    ("int8", "128", "column_type"),
    ("int64", "true", "column_type"),
    ("bool", "1", "column_type"),
    ("bool", "true", True),
    ("string", "17", "column_type"),
    ("string", "1.5", "column_type"),
    ("string", "true", "column_type"),
    ("string", "[]", "column_type"),
    ("date32", '"2024-02-29"', datetime.date(2024, 2, 29)),
    ("date32", '"2023-02-29"', "column_type"),
    ("timestamp[us]", '"0001-01-01T00:00:00"', datetime.datetime(1, 1, 1)),
    ("timestamp[ns]", '"0001-01-01T00:00:00"', "column_type"),
    ("timestamp[s]", "0", "column_type"),
]


@pytest.mark.parametrize(("kind", "value", "expected"), HELD)
def test_one_rule_for_every_type(kind: str, value: str, expected: Any) -> None:
    data = b'{"id":"a","text":"x","k":%s}\n{"id":"b","text":"y","k":null}\n{"id":"c","text":"z"}\n' % value.encode()
    raw = rows_of(data, schema(kept={"k": pa.type_for_alias(kind)}))
    assert [fault.reason for fault in raw.faults.values()] == ([expected] if expected == "column_type" else [])
    assert raw.kept[0].to_pylist() == [None if expected == "column_type" else expected, None, None]


def test_a_field_more_in_a_struct_is_no_value_of_its_type() -> None:
    kind = pa.struct([("x", pa.int64())])
    data = b'{"id":"a","text":"t","s":{"x":1}}\n{"id":"b","text":"t","s":{"x":1,"more":2}}\n{"id":"c","text":"t","s":{"more":null}}\n'
    raw = rows_of(data, schema(kept={"s": kind}))
    assert {row: fault.reason for row, fault in raw.faults.items()} == {1: "column_type"}
    assert raw.kept[0].to_pylist() == [{"x": 1}, None, {"x": None}]
