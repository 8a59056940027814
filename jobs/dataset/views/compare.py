"""When two datasets are equal: of runs over the same corpus by what was committed, of any two by the rows themselves."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import numpy as np
import pyarrow as pa

from embermill.jobs.dataset.metadata.inventory import receipts_of, who_says
from embermill.jobs.dataset.metadata.receipt_table import NOT_COMPARED, to_receipts, without_history
from embermill.jobs.shard.contents import open_parquet, row_groups, to_matrix
from embermill.jobs.storage import Folder

MAX_LISTED = 20


def differences(left: Folder, right: Folder) -> list[str]:
    """Where two datasets are not equal: name, rows, sha256, ids and token counts of every shard and quarantine file. Empty where they are."""
    tables = [receipts_of(who_says(folder)) for folder in (left, right)]
    if tables[0].drop_columns(list(NOT_COMPARED)).equals(tables[1].drop_columns(list(NOT_COMPARED))):
        return []
    found = []
    sides = [{(receipt.partition, receipt.ordinal): without_history(receipt) for receipt in to_receipts(table)} for table in tables]
    for key in sorted({*sides[0], *sides[1]}):
        if key not in sides[0] or key not in sides[1]:
            found.append(f"partition {key[0]} shard {key[1]} is only in {(right if key in sides[1] else left).root}")
        else:
            one, other = sides[0][key], sides[1][key]
            found += [f"partition {key[0]} shard {key[1]}: {name} {one[name]!r} | {other[name]!r}" for name in one if one[name] != other[name]]
    return found


def row_differences(left: Folder, right: Folder, *, tolerance: float = 0.0) -> list[str]:
    """Where the rows of two datasets differ, in row order, however they are cut into shards and wherever the corpus lay; at most MAX_LISTED.

    Ids, token counts, text hashes and kept columns are compared exactly, vectors within `tolerance` (absolute). Memory: a row group of each.
    """
    found: list[str] = []
    first = 0
    for piece in _aligned(left, right):
        if piece is None:
            found.append(f"only one of them goes on from row {first}")
        elif len(found) < MAX_LISTED:
            found += _compare(*piece, first, tolerance)
            first += piece[0].num_rows
        else:
            break
    return found[:MAX_LISTED]


def _aligned(left: Folder, right: Folder) -> Iterator[tuple[pa.Table, pa.Table] | None]:
    """The same rows of both, piece by piece; None at the end where one is longer."""
    sides = [_all_rows(left), _all_rows(right)]
    held: list[pa.Table | None] = [next(side, None) for side in sides]
    while held[0] is not None and held[1] is not None:
        rows = min(held[0].num_rows, held[1].num_rows)
        yield held[0].slice(0, rows), held[1].slice(0, rows)
        held = [table.slice(rows) if table is not None and table.num_rows > rows else next(side, None) for table, side in zip(held, sides, strict=True)]
    if held != [None, None]:
        yield None


def _all_rows(folder: Folder) -> Iterator[pa.Table]:
    for name in receipts_of(who_says(folder)).column("shard").to_pylist():
        if name is not None:
            with folder.open(name) as file, open_parquet(file) as parquet:
                yield from row_groups(parquet)


def _compare(left: pa.Table, right: pa.Table, first: int, tolerance: float) -> list[str]:
    if left.schema.names != right.schema.names:
        return [f"columns {left.schema.names} | {right.schema.names}"]
    found = []
    for name in left.schema.names:
        for row in _differing_rows(left.column(name), right.column(name), tolerance)[:MAX_LISTED]:
            found.append(f"row {first + row}, {name}: {_shown(left, name, row)} | {_shown(right, name, row)}")
    return found


def _differing_rows(left: pa.ChunkedArray, right: pa.ChunkedArray, tolerance: float) -> list[int]:
    if left.equals(right):
        return []
    if pa.types.is_fixed_size_list(left.type) and left.type == right.type:
        distance: np.ndarray = np.abs(to_matrix(left).astype(np.float64) - to_matrix(right)).max(axis=1)  # codes would wrap around
        return [int(row) for row in np.flatnonzero(distance > tolerance)]
    return [row for row, (one, other) in enumerate(zip_longest(left.to_pylist(), right.to_pylist())) if one != other]


def _shown(table: pa.Table, name: str, row: int) -> Any:
    value = table.column(name)[row].as_py()
    return f"{value[:3]}..." if isinstance(value, list) else repr(value)
