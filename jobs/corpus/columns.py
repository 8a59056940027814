"""A file's columns fitted to the pinned row schema, with on_schema_drift for what deviates."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from embermill.jobs.corpus.arrow_types import as_id, as_text, canonical, cast_by_row, drifted, id_type, plain_array, text_type
from embermill.jobs.corpus.rows import Fault, RowSchema
from embermill.jobs.corpus.uuids import as_uuids, uuid_type
from embermill.jobs.errors import DataError


def deviates(schema: RowSchema, column: str, found: pa.DataType | None) -> pa.DataType | None:
    """The pinned type from which this column of a file deviates, None where it fits every use of it. Nothing but nulls is fine where it is only kept."""
    uses: list[tuple[pa.DataType, Callable[[pa.DataType], pa.DataType]]] = []
    stored_as = uuid_type if column in schema.uuids else canonical
    if column == schema.id_column:
        uses.append((schema.id_type, uuid_type if column in schema.uuids else id_type))
    if column in schema.text_columns:
        uses.append((pa.string(), text_type))
    if found is None or not pa.types.is_null(found):
        uses.extend((kind, stored_as) for source, _, kind in schema.kept if source == column)
    return next((pinned for pinned, read_as in uses if found is None or read_as(found) != pinned), None)


def check_file(schema: RowSchema, file: str, types: dict[str, pa.DataType], *, all_columns: bool = True, otherwise: str = "") -> None:
    """DataError for the first column that deviates, where on_schema_drift is fail. types: the file's columns; all_columns: there are no others.

    otherwise: of a dataset that stands, what there is to do beside fixing the file; a new one may be begun with another on_schema_drift.
    """
    drift = find_drift(schema, types, all_columns=all_columns)
    if drift is not None:
        raise DataError(f"fix {file}, or {otherwise}: its {drift.against_dataset}") if otherwise else drifted(file, *drift)


class Drift(NamedTuple):
    """A column of a file that is not of the schema that is pinned. found: its type there, None where it is missing."""

    column: str
    found: pa.DataType | None
    pinned: pa.DataType

    @property
    def against_dataset(self) -> str:
        what = "is missing" if self.found is None else f"has type {self.found}"
        return f"column {self.column!r} {what}, and this dataset has it as {self.pinned}"


def find_drift(schema: RowSchema, types: dict[str, pa.DataType], *, all_columns: bool) -> Drift | None:
    """The first column that deviates, where on_schema_drift is fail. types, all_columns: as above."""
    if schema.on_schema_drift != "fail":
        return None
    for column in schema.columns:
        if not all_columns and pa.types.is_null(types.get(column, pa.null())):
            continue
        pinned = deviates(schema, column, types.get(column))
        if pinned is not None and not (column in schema.declared and column in types and may_hold(types[column], pinned)):
            return Drift(column, types.get(column), pinned)
    return None


def may_hold(found: pa.DataType, declared: pa.DataType) -> bool:
    """Whether values of a column of type `found` may fit the type that was declared: a truth value is no number, and what is nested fits nothing else."""
    plain = canonical(found)
    if pa.types.is_null(plain) or plain == declared:
        return True
    return not (pa.types.is_nested(plain) or pa.types.is_boolean(plain) != pa.types.is_boolean(declared)) or pa.types.is_string(plain)


class ColumnFitter:
    """Fits batches of one file. `faults` collects, for the batch at hand, rows whose value cannot be cast."""

    def __init__(self, schema: RowSchema) -> None:
        self.schema = schema
        self.faults: dict[int, Fault] = {}

    def fit(self, num_rows: int, columns: dict[str, pa.Array]) -> tuple[pa.Array | None, tuple[pa.Array, ...], tuple[pa.Array, ...], dict[int, Fault]]:
        """columns: source name -> [N]. Returns ids (None where positional), texts, kept, and the rows that are refused."""
        self.faults = {}
        schema = self.schema
        ids = None if schema.id_column is None else self._one(num_rows, columns, schema.id_column, schema.id_type, id_type, as_id)
        texts = tuple(self._one(num_rows, columns, column, pa.string(), text_type, as_text) for column in schema.text_columns)
        kept = tuple(self._one(num_rows, columns, source, kind, canonical, _stored) for source, _, kind in schema.kept)
        return ids, texts, kept, self.faults

    def _one(
        self,
        num_rows: int,
        columns: dict[str, pa.Array],
        name: str,
        pinned: pa.DataType,
        read_as: Callable[[pa.DataType], pa.DataType],
        convert: Callable[[pa.Array], pa.Array],
    ) -> pa.Array:
        array = columns.get(name)
        if array is None:
            return pa.nulls(num_rows, pinned)
        if pa.types.is_null(array.type):  # how a writer leaves a column without a value
            return pa.nulls(num_rows, pinned)
        if name in self.schema.uuids and uuid_type(array.type) == pinned:
            return self._uuids(array, name)
        if read_as(array.type) == pinned:
            return convert(array)
        if name in self.schema.declared and may_hold(array.type, pinned):
            return self._cast(array, name, pinned, "column_type")
        return self._cast(array, name, pinned, "uncastable") if self.schema.on_schema_drift == "cast" else pa.nulls(num_rows, pinned)

    def _uuids(self, array: pa.Array, name: str) -> pa.Array:
        """A row whose value is none is refused."""
        texts, wrong = as_uuids(array)
        for row in np.flatnonzero(wrong).tolist():
            self.faults.setdefault(row, Fault("column_type", f"column {name!r}: {texts[row].as_py()!r:.100} is no UUID"))
        return texts

    def _cast(self, array: pa.Array, name: str, pinned: pa.DataType, reason: str) -> pa.Array:
        """Value by value: what does not fit has its row refused, or with on_schema_drift: null is null."""
        cast, failures = cast_by_row(plain_array(array), pinned)
        if self.schema.on_schema_drift != "null":
            for row, error in failures.items():
                self.faults.setdefault(row, Fault(reason, f"column {name!r}: {error}"))
        return cast


def _stored(array: pa.Array) -> pa.Array:
    """A kept column in the type the dataset stores."""
    plain = plain_array(array)
    return plain.cast(pa.string()) if pa.types.is_large_string(plain.type) else plain
