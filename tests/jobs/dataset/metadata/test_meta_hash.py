from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embermill.jobs.dataset.metadata.meta_hash import meta_hash

VALUES = st.one_of(st.none(), st.text(max_size=5))
ROWS = st.lists(st.tuples(VALUES, st.one_of(st.none(), st.integers(-(2**40), 2**40))), max_size=20)
DAY = dt.datetime(2026, 5, 4, 3, 2, 1)
COLUMNS: list[pa.Array] = [
    pa.array(["a", None, ""]),
    pa.array([b"a", None, b""]),
    pa.array([1, None, -1]),
    pa.array([2**64 - 1, None, 1], pa.uint64()),
    pa.array([1.5, None, float("nan")]),
    pa.array([0.5, None, 1], pa.float32()),
    pa.array([True, None, False]),
    pa.array([DAY.date(), None, dt.date(1900, 1, 1)]),
    pa.array([DAY.date(), None, dt.date(1900, 1, 1)], pa.date64()),
    *(pa.array([DAY, None, dt.datetime(1900, 1, 1)], pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")),
    pa.array([DAY.time(), None, dt.time(0)], pa.time32("s")),
    pa.array([DAY.time(), None, dt.time(0)], pa.time64("us")),
    pa.array([Decimal("1.50"), None, Decimal("-2.25")]),
    pa.array([["x", None], None, []]),
    pa.array([{"a": 1, "b": [b"\xff"]}, None, {"a": None, "b": None}]),
    pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int32())),
    pa.nulls(3),
]


def digests(rows: list[tuple[Any, ...]], *kinds: pa.DataType) -> list[bytes]:
    columns = {f"c{place}": pa.array([row[place] for row in rows], kind) for place, kind in enumerate(kinds)}
    return meta_hash(pa.table(columns), [*columns]).to_pylist()


@given(ROWS, st.integers(0, 20))
def test_it_is_of_the_values_alone(rows: list[tuple[Any, ...]], cut: int) -> None:
    plain = digests(rows, pa.string(), pa.int64())
    assert digests(rows, pa.large_string(), pa.int64()) == plain
    table = pa.table({"c0": pa.array([row[0] for row in rows], pa.string()), "c1": pa.array([row[1] for row in rows], pa.int64())})
    chunked = pa.concat_tables([table.slice(0, cut), table.slice(cut)])
    encoded = table.set_column(0, "c0", table.column("c0").dictionary_encode())
    for other in (chunked, encoded, table.slice(0, len(rows))):
        assert meta_hash(other, ["c0", "c1"]).to_pylist() == plain
    by_row = [meta_hash(table.slice(row, 1), ["c0", "c1"])[0].as_py() for row in range(len(rows))]
    assert by_row == plain


@given(ROWS)
def test_different_rows_have_different_hashes(rows: list[tuple[Any, ...]]) -> None:
    found = digests(rows, pa.string(), pa.int64())
    assert len(set(found)) == len(set(rows)) and all(len(each) == 8 for each in found)


def test_where_a_value_ends_counts() -> None:
    pairs = [("a", "bc"), ("ab", "c"), ("abc", ""), ("abc", None), (None, "abc"), ("", "abc"), (None, None), ("", ""), ("\0", "")]
    assert len(set(digests(pairs, pa.string(), pa.string()))) == len(pairs)


def test_kinds_that_look_alike_differ() -> None:
    columns = [pa.array(["1"]), pa.array([b"1"]), pa.array([1]), pa.array([1.0]), pa.array([True]), pa.array([["1"]])]
    assert len({meta_hash(pa.table({"c": column}), ["c"])[0].as_py() for column in columns}) == len(columns)


def test_widths_and_units_do_not_count() -> None:
    widths = [pa.array([5], kind) for kind in (pa.int8(), pa.int32(), pa.int64(), pa.uint16(), pa.uint64())]
    times = [pa.array([DAY], pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")]
    days = [pa.array([DAY.date()], kind) for kind in (pa.date32(), pa.date64())]
    zeros = [pa.array([value], kind) for value in (0.0, -0.0) for kind in (pa.float32(), pa.float64())]
    nans = [pa.array(np.array([bits], np.uint64).view(np.float64)) for bits in (0x7FF8000000000000, 0xFFF8000000000001)]
    for alike in (widths, times, days, zeros, nans):
        assert len({meta_hash(pa.table({"c": column}), ["c"])[0].as_py() for column in alike}) == 1, alike


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: str(column.type)[:20])
def test_every_type_survives_parquet(column: pa.Array) -> None:
    """What is read back from a shard has the hash that was made of what was read from the corpus."""
    table = pa.table({"c": column})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    found = meta_hash(table, ["c"])
    assert meta_hash(pq.read_table(io.BytesIO(sink.getvalue())), ["c"]).equals(found)
    assert len(set(found.to_pylist())) == (3 if not pa.types.is_null(column.type) else 1)


def test_without_kept_columns_all_rows_are_alike() -> None:
    assert len(set(meta_hash(pa.table({"x": [1, 2]}), []).to_pylist())) == 1
    assert len(meta_hash(pa.table({"x": pa.array([], pa.int64())}), ["x"])) == 0


def test_it_is_frozen() -> None:
    """It is stored in the keys of datasets: another value would make every row look edited."""
    table = pa.table({"a": ["x", None], "b": [1, 2], "c": [[1], [2]]})
    assert [each.hex() for each in meta_hash(table, ["a", "b", "c"]).to_pylist()] == FROZEN


FROZEN = ["4ddd79a35712ee18", "77a5b10a25ed7cf8"]
