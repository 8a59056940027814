"""Kept columns as JSON, and the cheap bound on their size."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embermill.jobs.index.metadata_json import json_kind, json_rows, json_text
from embermill.jobs.index.rows import Rows

INSTANT = datetime(2026, 11, 28, 13, 5, 7, 250_000, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("é", pa.string(), "é"),
        (2**64 - 1, pa.uint64(), 2**64 - 1),
        (1.5, pa.float16(), 1.5),
        (0.25, pa.float64(), 0.25),
        (True, pa.bool_(), True),
        (b"\x00\xff", pa.binary(), "AP8="),
        (Decimal("12.340"), pa.decimal128(10, 3), "12.340"),
        (date(2026, 1, 2), pa.date32(), "2026-01-02"),
        (time(1, 2, 3), pa.time32("s"), "01:02:03"),
        (INSTANT, pa.timestamp("ms", "Europe/Berlin"), "2026-11-28T11:05:07.250Z"),
        (datetime(1969, 12, 31, 23, 59), pa.timestamp("s"), "1969-12-31T23:59:00"),
        (timedelta(seconds=2), pa.duration("ms"), 2_000),
        (["a", "b"], pa.list_(pa.string()), ["a", "b"]),
        ([1.5, float("nan")], pa.list_(pa.float32()), [1.5, None]),
        ({"a": date(2026, 1, 2), "b": None}, pa.struct([("a", pa.date32()), ("b", pa.int8())]), {"a": "2026-01-02", "b": None}),
        ([("k", b"x")], pa.map_(pa.string(), pa.binary()), {"k": "eA=="}),
        ([[("k", 1)]], pa.list_(pa.map_(pa.string(), pa.int64())), [{"k": 1}]),
    ],
)
def test_a_value_of_every_type(value: object, kind: pa.DataType, expected: object) -> None:
    batch = pa.RecordBatch.from_arrays([pa.array([value, None], kind)], ["x"])
    assert [*json_rows(batch)] == [{"x": expected}, {}]
    (text, _) = map(json_text, json_rows(batch))
    assert json.loads(text) == {"x": expected}


def test_what_json_has_no_word_for_is_left_out() -> None:
    batch = pa.RecordBatch.from_pydict({"x": [float("nan"), float("inf"), None, 0.5], "y": ["a", "b", "c", "d"]})
    assert [*json_rows(batch)] == [{"y": "a"}, {"y": "b"}, {"y": "c"}, {"x": 0.5, "y": "d"}]
    assert [*json_rows(pa.RecordBatch.from_pylist([{}, {}], pa.schema([])))] == [{}, {}] or batch.num_rows  # no columns: no rows are known


def test_kinds() -> None:
    kinds = {pa.string(): "string", pa.int8(): "number", pa.bool_(): "boolean", pa.date32(): "string", pa.list_(pa.string()): "list of strings"}
    kinds |= {pa.list_(pa.list_(pa.string())): "nested", pa.struct([("a", pa.int8())]): "nested", pa.map_(pa.string(), pa.string()): "nested"}
    assert {kind: json_kind(kind) for kind in kinds} == kinds


COLUMNS = {
    pa.string(): st.text(max_size=40),
    pa.binary(): st.binary(max_size=40),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(),
    pa.float32(): st.floats(width=32),
    pa.bool_(): st.booleans(),
    pa.timestamp("ns", "UTC"): st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    pa.decimal128(38, 10): st.decimals(-(10**27), 10**27, places=10),
    pa.decimal128(5, -3): st.integers(-99999, 99999).map(lambda digits: Decimal(digits).scaleb(3)),
    pa.decimal256(76, 76): st.integers(1 - 10**76, 10**76 - 1).map(lambda digits: Decimal((digits < 0, tuple(map(int, str(abs(digits)))), -76))),
    pa.list_(pa.string()): st.lists(st.text(max_size=9), max_size=4),
}


@given(st.data())
def test_the_bound_is_never_below_the_size(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 4))
    kinds = data.draw(st.lists(st.sampled_from([*COLUMNS]), min_size=1, max_size=4))
    arrays = [pa.array(data.draw(st.lists(st.none() | COLUMNS[kind], min_size=rows, max_size=rows)), kind) for kind in kinds]
    names = [data.draw(st.from_regex(r"[a-zé]{1,5}", fullmatch=True)) + str(number) for number in range(len(kinds))]
    measured = Rows(pa.array([str(row) for row in range(rows)]), pa.RecordBatch.from_arrays(arrays, names))
    sizes = [len(json_text(row).encode()) for row in json_rows(measured.metadata)]
    assert measured.metadata_bytes.tolist() == sizes
    assert (measured.metadata_bound >= np.array(sizes)).all()
