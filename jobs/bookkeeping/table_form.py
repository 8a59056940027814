"""Whether a table that was read from a bookkeeping file has the form that its reader goes by."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc


def require_table(table: pa.Table, schema: pa.Schema, may_be_null: Iterable[str]) -> None:
    """ValueError unless each column that the schema knows is there, of its type, and has no null where there must be none. Older tables lack some columns."""
    for field in schema:
        if field.name not in table.column_names:
            continue
        column = table.column(field.name)
        if column.type != field.type:
            raise ValueError(f"column {field.name}: expected {field.type}, got {column.type}")
        if field.name not in may_be_null and column.null_count:
            raise ValueError(f"column {field.name} holds nulls")
        if pa.types.is_integer(field.type) and (pc.min(column).as_py() or 0) < 0:
            raise ValueError(f"column {field.name} holds a negative number")
