"""Parquet's INT96 timestamps, exactly. Arrow makes nanoseconds of them, and a date outside 1677 to 2262 wraps around to another one without a word.

The same column is read twice, as nanoseconds and as seconds. Seconds never overflow; what is left of the (wrapped) nanoseconds after the seconds are
taken away, in arithmetic that wraps the same way, is the fraction of the second. From both follows the value in any unit, and whether it fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embermill.jobs.corpus.rows import Fault

DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
UNIT_IN_SECONDS = "s"  # of the second reading


def int96_columns(file: pq.ParquetFile, columns: Iterable[str]) -> tuple[str, ...]:
    """Those of the columns that hold INT96, however deep."""
    wanted = set(columns)
    leaves = (file.schema.column(number) for number in range(len(file.schema)))
    return tuple(dict.fromkeys(root for leaf in leaves if leaf.physical_type == "INT96" and (root := leaf.path.split(".")[0]) in wanted))


def exact(batch: pa.RecordBatch, seconds: pa.RecordBatch, kinds: Mapping[str, pa.DataType]) -> tuple[pa.RecordBatch, dict[int, Fault]]:
    """The batch with every INT96 column as it is in the file, and the rows that hold a value which its type cannot.

    seconds: the INT96 columns of the same rows, read in seconds. kinds: the types that are wanted; timestamps without a zone are made in their unit.
    """
    faults: dict[int, Fault] = {}
    for name in seconds.schema.names:
        place = batch.schema.get_field_index(name)
        column, truth = batch.column(place), seconds.column(name)
        kind = kinds.get(name, column.type)
        if pa.types.is_timestamp(column.type) and pa.types.is_timestamp(kind) and kind.tz is None:
            values, wrong = _in_unit(column, truth, kind.unit)
            batch = batch.set_column(place, name, pa.array(values, kind, mask=wrong | _nulls(column)))
        else:
            kind, wrong = column.type, _wrong(column, truth)
        for row in np.flatnonzero(wrong):
            faults.setdefault(int(row), Fault("column_type", f"column {name!r}: {_shown(truth, int(row))} does not fit {kind}{_advice(name, kind)}"))
    return batch, faults


def _in_unit(wrapped: pa.Array, seconds: pa.Array, unit: str) -> tuple[np.ndarray, np.ndarray]:
    """([N] int64 in that unit, [N] bool: which of them cannot be told in it)."""
    whole, fraction = _integers(seconds), _integers(wrapped)
    with np.errstate(over="ignore"):
        fraction = fraction - whole * 10**9
        scale, step = 10 ** DIGITS[unit], 10 ** (9 - DIGITS[unit])
        values = whole * scale + fraction // step
    exact_here = (values // scale == whole) & (fraction >= 0) & (fraction < 10**9) & (fraction % step == 0)
    return values, ~exact_here & ~_nulls(seconds)


def _wrong(wrapped: pa.Array, seconds: pa.Array) -> np.ndarray:
    """[N] bool: rows with a timestamp, however deep, that nanoseconds cannot hold."""
    if pa.types.is_timestamp(wrapped.type):
        return _in_unit(wrapped, seconds, "ns")[1]
    found = np.zeros(len(wrapped), bool)
    if pa.types.is_struct(wrapped.type):
        for inner, truth in zip(wrapped.flatten(), seconds.flatten(), strict=True):
            found |= _wrong(inner, truth)
    elif pa.types.is_list(wrapped.type) or pa.types.is_large_list(wrapped.type):
        parents = pc.list_parent_indices(wrapped).to_numpy()
        found[parents[_wrong(wrapped.flatten(), seconds.flatten())]] = True
    elif pa.types.is_map(wrapped.type):
        found = _wrong(_as_list(wrapped), _as_list(seconds))
    return found


def _as_list(mapping: pa.MapArray) -> pa.ListArray:
    return pa.ListArray.from_arrays(mapping.offsets, pa.StructArray.from_arrays([mapping.keys, mapping.items], ["key", "value"]))


def _integers(array: pa.Array) -> np.ndarray:
    return np.asarray(pc.fill_null(array.cast(pa.int64()), 0), np.int64)


def _nulls(array: pa.Array) -> np.ndarray:
    return np.asarray(pc.is_null(array), bool)


def _shown(seconds: pa.Array, row: int) -> str:
    if not pa.types.is_timestamp(seconds.type):
        return "a timestamp within it"
    return f"the timestamp {np.datetime64(seconds[row].value, 's')}"


def _advice(name: str, kind: pa.DataType) -> str:
    if not pa.types.is_timestamp(kind) or kind.unit == "us":
        return ""
    return f": declare corpus.types: {{{name}: timestamp[us]}} (in a new dataset)"
