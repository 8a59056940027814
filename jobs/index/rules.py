"""The kinds of limit there are: in words, and how a batch of rows or the dataset's columns are held against one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.corpus.uuids import UUID_FORM
from embermill.jobs.index.metadata_json import json_kind
from embermill.jobs.index.rows import Rows


@dataclass(frozen=True)
class Form:
    """What a dataset is before its rows are read. dtype, dim: of the vector column that is loaded. metadata: the columns beside it, as Rows has them."""

    id_type: pa.DataType
    column: str
    dtype: str
    dim: int
    metadata: pa.Schema
    rows: int = 0


@dataclass(frozen=True)
class Offending:
    """mask: [N] bool, rows beyond the limit. measure: of a row by its place, what was found, in words; "" where that says nothing new."""

    mask: np.ndarray
    measure: Callable[[int], str] = lambda row: ""


@dataclass(frozen=True)
class Rule:
    """words: of the limit, with {}. rows, form: how it is checked; a rule with neither is only told, or reckoned with (sizes of batches and files, rates)."""

    words: str
    rows: Callable[[Rows, Any], Offending] | None = None
    form: Callable[[Form, Any], Sequence[str]] | None = None

    def tell(self, value: Any) -> str:
        shown = f"{value:,}" if isinstance(value, int) else ", ".join(value) if isinstance(value, tuple) else value
        return self.words.format(shown)


def _over(sizes: np.ndarray, most: int, unit: str) -> Offending:
    return Offending(sizes > most, lambda row: f"{sizes[row]:,} {unit}")


def _numbers(array: pa.Array) -> np.ndarray:
    """[N], or [N] bool; 0 or False for null."""
    found: np.ndarray = pc.fill_null(array, False if pa.types.is_boolean(array.type) else 0).to_numpy(zero_copy_only=False)
    return found


def _id_characters(rows: Rows, most: int) -> Offending:
    return _over(_numbers(pc.utf8_length(rows.id_texts)), most, "characters")


def _id_bytes(rows: Rows, most: int) -> Offending:
    return _over(_numbers(pc.binary_length(rows.id_texts)), most, "bytes")


def _unlike(rows: Rows, pattern: str) -> Offending:
    return Offending(~_numbers(pc.match_substring_regex(rows.id_texts, pattern)))


def _id_ascii(rows: Rows, _: Any) -> Offending:
    return Offending(_numbers(pc.binary_length(rows.id_texts)) != _numbers(pc.utf8_length(rows.id_texts)))


def _id_uuid(rows: Rows, kinds: str) -> Offending:
    if "integer" in kinds and pa.types.is_integer(rows.ids.type):
        return Offending(np.asarray(rows.ids.to_numpy(zero_copy_only=False) < 0))
    return _unlike(rows, UUID_FORM)


def _id_integer(rows: Rows, bits: int) -> Offending:
    if not pa.types.is_integer(rows.ids.type):
        return Offending(np.ones(len(rows), bool))
    low, high = (np.iinfo(np.int64).min, np.iinfo(np.int64).max) if bits < 64 else (0, np.iinfo(np.uint64).max)
    ids = rows.ids.to_numpy(zero_copy_only=False)
    return Offending(np.asarray((ids < low) | (ids > high)))


def _metadata_bytes(rows: Rows, most: int) -> Offending:
    if not (rows.metadata_bound > most).any():
        return Offending(np.zeros(len(rows), bool))
    return _over(rows.metadata_bytes, most, "bytes")


def _row_bytes(rows: Rows, most: int) -> Offending:
    """A row larger than a whole batch may be goes into none."""
    beside = rows.vector_bytes + _numbers(pc.binary_length(rows.id_texts))
    if not (rows.metadata_bound + beside > most).any():
        return Offending(np.zeros(len(rows), bool))
    sizes = rows.metadata_bytes + beside
    return Offending(sizes > most, lambda row: f"about {sizes[row]:,} bytes")


def _string_bytes(rows: Rows, most: int) -> Offending:
    sizes = np.zeros(len(rows), np.int64)
    for _, column in rows.strings():
        sizes = np.maximum(sizes, _numbers(pc.binary_length(column)))
    return _over(sizes, most, "bytes")


def _nul(rows: Rows, _: Any) -> Offending:
    found = np.zeros(len(rows), bool)
    for column in (rows.id_texts, *(column for _, column in rows.strings())):
        found |= _numbers(pc.match_substring(column, "\0"))
    return Offending(found)


def _zero_vectors(rows: Rows, _: Any) -> Offending:
    return Offending(np.zeros(len(rows), bool) if rows.vectors is None else np.asarray(~rows.vectors.any(axis=1)))


def _dimensions(form: Form, most: int, dtype: str = "") -> Sequence[str]:
    return [f"{form.column}: {form.dim:,} dimensions"] if form.dim > most and dtype in ("", form.dtype) else []


def _dtypes(form: Form, known: Sequence[str]) -> Sequence[str]:
    return [] if form.dtype in known else [f"{form.column}: {form.dtype}"]


def _metadata_types(form: Form, known: Sequence[str]) -> Sequence[str]:
    return [f"{field.name}: {field.type}" for field in form.metadata if json_kind(field.type) not in known]


def _field_names(form: Form, pattern: str) -> Sequence[str]:
    return [name for name in form.metadata.names if not re.fullmatch(pattern, name)]


def _reserved(form: Form, names: Sequence[str]) -> Sequence[str]:
    return [name for name in form.metadata.names if name in names]


def _fields(form: Form, most: int) -> Sequence[str]:
    return [f"{len(form.metadata):,} columns"] if len(form.metadata) > most else []


def _total_rows(form: Form, most: int) -> Sequence[str]:
    return [f"{form.rows:,} rows"] if form.rows > most else []


RULES: dict[str, Rule] = {
    "id_characters": Rule("ids of at most {} characters", rows=_id_characters),
    "id_bytes": Rule("ids of at most {} bytes", rows=_id_bytes),
    "id_ascii": Rule("ids of ASCII characters alone", rows=_id_ascii),
    "id_pattern": Rule("ids of the form {}", rows=lambda rows, pattern: _unlike(rows, f"^{pattern}$")),
    "id_uuid": Rule("each id a {}", rows=_id_uuid),
    "id_integer": Rule("ids that are integers of {} bits", rows=_id_integer),
    "metadata_bytes": Rule("at most {} bytes of metadata a row", rows=_metadata_bytes),
    "filterable_bytes": Rule("at most {} bytes of metadata a row that can be filtered by", rows=_metadata_bytes),
    "string_bytes": Rule("strings of at most {} bytes", rows=_string_bytes),
    "text_without_nul": Rule("no text with a character of code zero", rows=_nul),
    "nonzero_vectors": Rule("no vector of zeros alone (cosine)", rows=_zero_vectors),
    "dimensions": Rule("at most {} dimensions", form=_dimensions),
    "dimensions_float32": Rule("an index on float32 of at most {} dimensions", form=lambda form, most: _dimensions(form, most, "float32")),
    "dimensions_float16": Rule("an index on float16 of at most {} dimensions", form=lambda form, most: _dimensions(form, most, "float16")),
    "dtypes": Rule("vectors of {}", form=_dtypes),
    "metadata_types": Rule("metadata of {}", form=_metadata_types),
    "field_names": Rule("columns named like {}", form=_field_names),
    "reserved_fields": Rule("no column named {}", form=_reserved),
    "fields": Rule("at most {} columns beside id and vector", form=_fields),
    "rows": Rule("at most {} rows", form=_total_rows),
    "batch_rows": Rule("at most {} rows a call"),
    "batch_bytes": Rule("at most {} bytes a call", rows=_row_bytes),
    "file_bytes": Rule("files of at most {} bytes"),
    "row_group_bytes": Rule("row groups of about {} bytes"),
    "files": Rule("at most {} files an import"),
    "rows_per_s": Rule("at most {} rows a second"),
}
