"""`check`: would that index take this dataset? Offline, against the recorded limits, every row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from embermill.jobs.dataset.metadata.versions import documents_of
from embermill.jobs.dataset.views.live import LiveRows
from embermill.jobs.dataset.views.opening import open_version
from embermill.jobs.errors import DataError
from embermill.jobs.index.columns import IndexColumns, index_columns
from embermill.jobs.index.limits import Limit, Limits, limits_of
from embermill.jobs.index.metadata_json import json_rows, json_text
from embermill.jobs.index.rows import BYTES_PER_NUMBER
from embermill.jobs.index.rules import Form
from embermill.jobs.index.violations import Violation, ViolationCount, find_form_violations
from embermill.jobs.shard.contents import to_matrix
from embermill.jobs.storage import open_folder

SAMPLED_ROWS = 1_000  # of which the size of a row is reckoned


@dataclass(frozen=True)
class Estimate:
    """What loading takes at the published limits; None where none is published that says so. row_bytes: of a row as JSON, the mean of a sample."""

    row_bytes: int
    rows_per_call: int | None
    calls: int | None
    seconds: float | None


@dataclass(frozen=True)
class CheckReport:
    """refused: rows or columns that the target does not take. converted: that a loader or an export changes on the way, each with how.
    documents: of a dataset of chunks, whose rows are chunks."""

    root: str
    version: int
    rows: int
    columns: IndexColumns
    limits: Limits
    refused: tuple[Violation, ...]
    converted: tuple[Violation, ...]
    estimate: Estimate
    documents: int | None = None

    def to_json(self) -> dict[str, Any]:
        vector = self.columns.vector
        return {
            "root": self.root, "version": self.version, "rows": self.rows, "documents": self.documents, "target": self.limits.name, "title": self.limits.title,
            "ok": not self.refused, "column": vector.column, "dtype": vector.dtype, "dimensions": vector.dim,
            "violations": [_violation(found) for found in self.refused], "converted": [_violation(found) for found in self.converted],
            "limits": [_limit(limit) for limit in self.limits.limits], "estimate": vars(self.estimate),
        }  # fmt: skip


class CheckFailed(DataError):
    """`report` holds all that was found."""

    def __init__(self, report: CheckReport) -> None:
        lines = "\n".join(f"  {found}" for found in report.refused)
        super().__init__(f"{report.limits.title} would not take {report.root}, version {report.version}:\n{lines}")
        self.report = report


def check(
    uri: str,
    target: str,
    *,
    version: int | None = None,
    vector: str | None = None,
    names: Mapping[str, str] | None = None,
    on_rows: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Hold every live row against the limits of `target`; on_rows(done, of all) now and then. Memory: a batch of rows, and what LiveRows holds.

    Raises CheckFailed where it would refuse some, UsageError for a target or column that is not known, what open_version raises.
    """
    limits, folder = limits_of(target), open_folder(uri)
    plan, found = open_version(folder, version)
    columns, rows = index_columns(plan, vector, names), found.totals["rows"]
    form = Form(columns.id_type, columns.vector_name, columns.vector.dtype, columns.vector.dim, columns.schema, rows)
    count, sampled, done = ViolationCount(limits, form.dim), list[int](), 0
    needs_vectors = limits.value("nonzero_vectors") is not None
    read = [*columns.stored, *([columns.vector.column] if needs_vectors else [])]
    for batch in LiveRows(folder, plan, found).batches(read):
        ids, metadata = columns.rows(batch)
        vectors = to_matrix(pa.chunked_array([batch.column(columns.vector.column)])) if needs_vectors else None
        count.add(ids, metadata, vectors)
        if len(sampled) < SAMPLED_ROWS:
            sampled += islice(_row_bytes(ids, metadata, columns.vector.dim), SAMPLED_ROWS - len(sampled))
        done += batch.num_rows
        if on_rows is not None:
            on_rows(done, rows)
    violations = (*find_form_violations(limits, form), *count.violations)
    refused = tuple(each for each in violations if each.is_refused)
    converted = tuple(each for each in violations if not each.is_refused)
    told = estimate(limits, rows, int(np.mean(sampled or [0])))
    report = CheckReport(folder.root, found.number, rows, columns, limits, refused, converted, told, documents_of(folder, plan, found))
    if refused:
        raise CheckFailed(report)
    return report


def estimate(limits: Limits, rows: int, row_bytes: int) -> Estimate:
    """Full calls one after the other; the seconds are those of a published rate, whatever the network does."""
    most_rows, most_bytes, rate = (limits.value(rule) for rule in ("batch_rows", "batch_bytes", "rows_per_s"))
    bounds = [bound for bound in (most_rows, most_bytes and max(1, most_bytes // max(1, row_bytes))) if bound]
    per_call = min(bounds, default=None)
    return Estimate(row_bytes, per_call, None if per_call is None else -(-rows // per_call), None if rate is None else rows / rate)


def _row_bytes(ids: pa.Array, metadata: pa.RecordBatch, dim: int) -> Iterator[int]:
    keys = ids.to_pylist()
    texts = map(json_text, json_rows(metadata)) if metadata.num_columns else ["{}"] * len(keys)
    return (dim * BYTES_PER_NUMBER + len(str(key).encode()) + len(text.encode()) for key, text in zip(keys, texts, strict=True))


def _violation(found: Violation) -> dict[str, Any]:
    return _limit(found.limit) | {"count": found.count, "named": [*found.named], "remedy": found.limit.remedy}


def _limit(limit: Limit) -> dict[str, Any]:
    value = [*limit.value] if isinstance(limit.value, tuple) else limit.value
    source = limit.source
    return {"rule": limit.rule, "limit": limit.told, "value": value, "source": source.where, "date": source.date, "confirmed": source.confirmed}
