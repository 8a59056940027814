"""A shard is read in pieces of bounded size, whatever its row groups are."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import embermill.jobs.shard.contents
from embermill.jobs.shard.contents import Damaged, check_values, open_parquet, pieces
from embermill.jobs.storage import open_folder
from tests.jobs.sample_dataset import make_plan, write_shard


def stored(rows: int, group_rows: int) -> tuple[pa.Table, io.BytesIO]:
    kind = pa.list_(pa.field("element", pa.float32(), nullable=False), 64)
    vectors = np.random.default_rng(rows).standard_normal(rows * 64, dtype=np.float32)
    ids = pa.array([f"id-{row}" for row in range(rows)])
    table = pa.table({"id": ids, "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors), type=kind)})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=group_rows, use_dictionary=False, write_page_checksum=True)
    return table, sink


@given(st.integers(0, 300), st.integers(1, 200), st.integers(1, 40_000))
def test_every_row_once_in_order_and_no_piece_larger_than_asked_for(rows: int, group_rows: int, piece_bytes: int) -> None:
    table, file = stored(rows, group_rows)
    with pytest.MonkeyPatch.context() as patched, open_parquet(file) as parquet:
        patched.setattr(embermill.jobs.shard.contents, "PIECE_BYTES", piece_bytes)
        found = list(pieces(parquet))
    assert pa.concat_tables([table.schema.empty_table(), *found]) == table
    assert all(piece.num_rows == 1 or piece.num_rows * 64 * 4 <= piece_bytes for piece in found)


def test_a_row_that_is_not_finite_is_named_by_its_place_in_the_shard(tmp_path: Path) -> None:
    plan = make_plan(1)
    table = pq.read_table(tmp_path / str(write_shard(open_folder(str(tmp_path)), plan).shard))
    output = plan.outputs[0]
    vectors = table.column(output.column).combine_chunks().flatten().to_numpy().copy()
    vectors[2 * output.dim] = np.nan
    broken = pa.FixedSizeListArray.from_arrays(pa.array(vectors), type=table.schema.field(output.column).type)
    place = table.schema.get_field_index(output.column)
    with pytest.raises(Damaged, match=r"in row 1002$"):
        check_values(table.set_column(place, table.schema.field(place), broken), plan, 1000)


def test_a_column_whose_name_is_no_text_is_damage() -> None:
    """pyarrow decodes the names of columns when a file is opened, and raises what Python does."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"nam\N{LATIN SMALL LETTER E WITH ACUTE}": [1]}), sink, store_schema=False)
    broken = sink.getvalue().replace("nam\N{LATIN SMALL LETTER E WITH ACUTE}".encode(), b"nam\x80\x80")
    assert broken != sink.getvalue()
    with pytest.raises(Damaged, match="not a whole Parquet file"), open_parquet(io.BytesIO(broken)) as parquet:
        list(pieces(parquet))
