from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embermill.jobs.shard.row_group
from embermill.jobs.shard.row_group import RowGroupBuffer
from embermill.jobs.shard.text_hash import hash_texts
from tests.jobs.sample_dataset import make_plan


@given(st.lists(st.text(max_size=40), max_size=30), st.booleans())
def test_text_hash_is_blake2b_of_the_utf8(texts: list[str], wide: bool) -> None:
    array = pa.array(["sliced away", *texts], pa.large_string() if wide else pa.string())[1:]
    expected = [hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in texts]
    assert hash_texts(array).to_pylist() == expected


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.string(), ["a", None, "long " * 30]),
        (pa.large_string(), ["a", "b", "c"]),
        (pa.binary(), [b"\xff", None, b"abc"]),
        (pa.list_(pa.string()), [["a", "bb"], None, []]),
        (pa.struct([("x", pa.string()), ("y", pa.int64())]), [{"x": "abc", "y": 1}, None, {"x": None, "y": 2}]),
        (pa.map_(pa.string(), pa.int32()), [[("k", 1)], None, [("l", 2), ("m", 3)]]),
        (pa.float64(), [1.0, None, 3.0]),
        (pa.bool_(), [True, None, False]),
        (pa.decimal128(10, 2), [None, None, None]),
    ],
)
def test_groups_follow_from_the_rows_and_not_from_the_batches(monkeypatch: pytest.MonkeyPatch, kind: pa.DataType, values: list[Any]) -> None:
    monkeypatch.setattr(embermill.jobs.shard.row_group, "ROW_GROUP_BYTES", 1000)
    plan = make_plan(1, rows_per_shard=1000, kept=[("lang", "lang", kind)])
    rows = 100
    columns = {
        "id": pa.array([f"{n}" * (n % 4 + 1) for n in range(rows)]),
        "num_tokens": pa.array(np.arange(rows, dtype=np.int32)),
        "num_tokens_dropped": pa.array(np.zeros(rows, np.int32)),
        "text_hash": hash_texts(pa.array(["x"] * rows)),
        "lang": pa.array([values[n % 3] for n in range(rows)], kind),
    }
    vectors = {"embedding": np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)}

    def groups(cuts: list[int]) -> list[pa.Table]:
        buffer, found = RowGroupBuffer(plan), []
        for start, end in pairwise([0, *cuts, rows]):
            part = {name: column[start:end] for name, column in columns.items()}
            for table in buffer.add(part, {name: matrix[start:end] for name, matrix in vectors.items()}):
                found.append(pa.Table.from_batches([batch for batch in table.to_batches()]).combine_chunks())
                found[-1] = pa.ipc.open_stream(_copy(found[-1])).read_all()  # the buffer is reused
        return [*found, *buffer.rest()]

    whole = groups([])
    assert len(whole) > 3 and sum(table.num_rows for table in whole) == rows
    for cuts in ([1], [50], list(range(1, rows)), [7, 7, 33, 99]):
        assert groups(cuts) == whole
    joined = pa.concat_tables(whole)
    assert joined.column("id").to_pylist() == columns["id"].to_pylist() and joined.column("lang").to_pylist() == columns["lang"].to_pylist()
    assert joined.column("embedding").to_pylist() == vectors["embedding"].tolist()


def _copy(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def test_a_row_larger_than_a_group_is_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embermill.jobs.shard.row_group, "ROW_GROUP_BYTES", 300)
    plan = make_plan(1, kept=[("lang", "lang", pa.string())])
    buffer = RowGroupBuffer(plan)
    columns = {
        "id": pa.array(["a", "b", "c"]),
        "num_tokens": pa.array([1, 1, 1], pa.int32()),
        "num_tokens_dropped": pa.array([0, 0, 0], pa.int32()),
        "text_hash": hash_texts(pa.array(["x"] * 3)),
        "lang": pa.array(["en", "x" * 10_000, "de"]),
    }
    sizes = [table.num_rows for table in buffer.add(columns, {"embedding": np.zeros((3, 4), np.float32)})]
    assert [*sizes, *(table.num_rows for table in buffer.rest())] == [1, 1, 1]
