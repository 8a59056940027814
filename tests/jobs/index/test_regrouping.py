"""Batches of another size hold the same rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from embermill.jobs.index.regrouping import regrouped


@pytest.mark.parametrize("sizes", [[], [0], [1], [7], [10], [3, 0, 4, 3], [25], [4] * 9, [10, 10], [19, 1, 30]])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_the_same_rows_in_their_order(sizes: list[int], column: int) -> None:
    total, rng = sum(sizes), np.random.default_rng(1)
    kind = pa.list_(pa.field("element", pa.float32(), nullable=False), 3)
    columns = [pa.array([f"id-{row}" for row in range(total)], pa.string()), pa.array([None if row % 3 else row for row in range(total)], pa.int64())]
    columns.insert(column, pa.FixedSizeListArray.from_arrays(pa.array(rng.random(3 * total, np.float32)), type=kind))
    table = pa.Table.from_arrays(columns, schema=pa.schema([pa.field(f"c{place}", each.type) for place, each in enumerate(columns)]))
    firsts = np.cumsum([0, *sizes])
    whole = pa.RecordBatch.from_arrays(columns, schema=table.schema)
    given = [whole.slice(first, size) for first, size in zip(firsts, sizes, strict=False)]
    found = [*regrouped(pa.RecordBatchReader.from_batches(table.schema, given), 10, column)]
    assert [batch.num_rows for batch in found] == [10] * (total // 10) + [total % 10] * (total % 10 > 0)
    assert pa.Table.from_batches(found, table.schema).equals(table)
