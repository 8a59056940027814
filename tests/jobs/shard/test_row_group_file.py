"""Row groups that are encoded side by side: the file has the bytes of one ParquetWriter, whatever the plan and however many groups there are."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import embermill.jobs.shard.row_group
from embermill.jobs.plan.planning import shard_schema
from embermill.jobs.shard.row_group_file import RowGroupFile
from embermill.jobs.shard.thrift_compact import Reader, write_struct
from embermill.jobs.shard.writer import ShardWriter, column_runs, open_writer
from embermill.jobs.storage import open_folder
from embermill.jobs.vectors.form import StoredVector
from tests.jobs.sample_dataset import batches_of, embed, make_plan

FORMS = (
    StoredVector("embedding", "embedding", "float32", 8), StoredVector("half", "embedding", "float16", 8),
    StoredVector("codes", "embedding", "int8", 8, packing="symmetric", scale=0.1), StoredVector("bits", "embedding", "ubinary", 16, packing="msb"),
)  # fmt: skip
KINDS = [pa.string(), pa.list_(pa.string()), pa.struct([("x", pa.string()), ("y", pa.int64())]), pa.bool_(), pa.timestamp("us", "UTC")]


def table_of(schema: pa.Schema, rows: int, seed: int) -> pa.Table:
    """Rows of every column's type, some null, with a long run of one value."""
    rng, columns = np.random.default_rng(seed), list[pa.Array]()
    for field in schema:
        if pa.types.is_fixed_size_list(field.type):
            flat = (rng.standard_normal(rows * field.type.list_size) * 50).astype(field.type.value_type.to_pandas_dtype())
            columns.append(pa.FixedSizeListArray.from_arrays(pa.array(flat), type=field.type))
        else:
            columns.append(pa.array([value_of(field, number, rng) for number in range(rows)], field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def value_of(field: pa.Field, number: int, rng: np.random.Generator) -> Any:
    if field.nullable and number % 5 == 0:
        return None
    if pa.types.is_string(field.type):
        return f"{field.name} {number}" * int(rng.integers(1, 4))
    if pa.types.is_list(field.type):
        return ["a"] * (number % 3)
    if pa.types.is_struct(field.type):
        return {"x": f"{number}", "y": number}
    return bool(number % 2) if pa.types.is_boolean(field.type) else number


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as threads:
        yield threads


@pytest.mark.parametrize("encoding", ["compact", "portable"])
@pytest.mark.parametrize("forms", [(), FORMS], ids=["float32", "four columns"])
@pytest.mark.parametrize("sizes", [[], [1], [7, 300, 1, 40], [25] * 20, [30_000]])
def test_the_bytes_are_those_of_one_writer(
    tmp_path: Path, pool: ThreadPoolExecutor, encoding: str, forms: tuple[StoredVector, ...], sizes: list[int]
) -> None:  # fmt: skip
    kept = [(f"kept {number}", f"kept {number}", kind) for number, kind in enumerate(KINDS)]
    plan = make_plan(kept=kept)
    plan = replace(plan, config=plan.config | {"output.encoding": encoding}, names_model=encoding == "portable", vectors=forms)
    plan = replace(plan, schema=shard_schema(plan.rows, plan.stored))
    tables = [table_of(plan.schema, rows, seed) for seed, rows in enumerate(sizes)]
    side_by_side = RowGroupFile(tmp_path / "side by side", lambda sink, columns: open_writer(sink, plan, columns), column_runs(plan), pool, 2)
    files = (open_writer(tmp_path / "one", plan), side_by_side)
    for file in files:
        for table in tables:
            file.write_table(table, row_group_size=table.num_rows)
        file.add_key_value_metadata({"embermill.last": "true", "é": "é" * 200})
        file.close()
    assert (tmp_path / "one").read_bytes() == (tmp_path / "side by side").read_bytes()
    assert pq.read_metadata(tmp_path / "side by side").num_row_groups == len(sizes)


def test_a_shard_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor) -> None:
    monkeypatch.setattr(embermill.jobs.shard.row_group, "ROW_GROUP_BYTES", 2000)
    plan, receipts = make_plan(rows_per_shard=1000), []
    for name, encoders in (("one", None), ("side by side", pool)):
        with ShardWriter(open_folder(str(tmp_path / name)), plan, plan.partitions[0], 0, encoders=encoders) as writer:
            for rows in batches_of(300, 50):
                writer.write(rows, embed(rows))
            receipts.append(writer.finish(True, {}))
    assert receipts[0] == receipts[1] and receipts[0].rows_out == 300


def test_what_fails_in_a_thread_is_raised_where_it_is_written(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    plan = make_plan()

    def failing(sink: Any, columns: Sequence[str]) -> pq.ParquetWriter:
        raise OSError(28, "No space left on device")

    file = RowGroupFile(tmp_path / "file", failing, column_runs(plan), pool, 2)
    table = table_of(plan.schema, 5, 0)
    with pytest.raises(OSError, match="No space"):
        for _ in range(4):
            file.write_table(table, row_group_size=5)
    with pytest.raises(OSError, match="No space"):
        file.close()
    file.close()


def test_a_file_that_failed_leaves_the_others_their_threads_and_uses_no_table_any_more(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    plan, begun, go_on, ended = make_plan(), threading.Semaphore(0), threading.Event(), list[bool]()

    def slow(sink: Any, columns: Sequence[str]) -> pq.ParquetWriter:
        if plan.rows.id_name in columns:
            raise OSError(28, "No space left on device")
        begun.release()
        go_on.wait(10)
        ended.append(True)
        return open_writer(sink, plan, columns)

    file = RowGroupFile(tmp_path / "file", slow, [[name] for name in plan.schema.names], pool, 2)
    file.write_table(table_of(plan.schema, 5, 0), row_group_size=5)
    assert begun.acquire(timeout=10)
    threading.Timer(0.1, go_on.set).start()
    with pytest.raises(OSError, match="No space"):
        file.close()
    assert ended
    assert pool.submit(len, "abc").result() == 3


VALUES = st.recursive(
    st.one_of(
        st.integers(-(1 << 63), (1 << 63) - 1).map(lambda value: (6, value)),
        st.binary(max_size=300).map(lambda value: (8, value)),
        st.sampled_from([1, 2]).map(lambda value: (value, value)),
        st.lists(st.integers(-(1 << 31), (1 << 31) - 1), max_size=40).map(lambda items: (9, (5, items))),
    ),
    lambda inner: st.dictionaries(st.integers(1, 60), inner, max_size=8).map(lambda fields: (12, _struct(fields))),
    max_leaves=20,
)


def _struct(fields: dict[int, Any]) -> Any:
    from embermill.jobs.shard.thrift_compact import Struct

    return Struct(sorted(fields.items()))


@settings(max_examples=60)
@given(st.dictionaries(st.integers(1, 60), VALUES, max_size=8).map(_struct))
def test_structs_come_back_as_they_were(struct: Any) -> None:
    assert Reader(write_struct(struct)).struct() == struct


