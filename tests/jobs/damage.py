"""What may happen to a shard after it was written: other bytes, other rows, values that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.jobs.sample_dataset import DIM


def rewrite(path: Path, edit: Callable[[pa.Table], pa.Table] = lambda table: table, **settings: Any) -> None:
    """Write a file again with other settings or rows; the footer's keys stay."""
    table = edit(pq.read_table(path))
    metadata = {key: value for key, value in pq.read_metadata(path).metadata.items() if key != b"ARROW:schema"}
    pq.write_table(table.replace_schema_metadata(metadata), path, **({"compression": "zstd", "write_page_checksum": True} | settings))


def drop_a_row(table: pa.Table) -> pa.Table:
    return table.slice(1)


def other_ids(table: pa.Table) -> pa.Table:
    ids = [f"x{value}" for value in table.column("id").to_pylist()]
    return table.set_column(0, table.schema.field("id"), pa.array(ids))


def not_finite(table: pa.Table) -> pa.Table:
    values = np.full(table.num_rows * DIM, np.nan, np.float32)
    field = table.schema.field("embedding")
    return table.set_column(1, field, pa.FixedSizeListArray.from_arrays(values, type=field.type))


def short_hashes(table: pa.Table) -> pa.Table:
    place = table.schema.get_field_index("text_hash")
    return table.set_column(place, table.schema.field(place), pa.array(["ab"] * table.num_rows))
