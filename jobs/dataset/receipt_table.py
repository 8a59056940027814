"""Receipts as a Parquet table: what commit log and manifest are made of, their sums, and when two of them say the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields

import pyarrow as pa
import pyarrow.compute as pc

from jobs.receipt import Receipt
from jobs.token_lengths import Histogram, merge_lengths


def _field(name: str, kind: pa.DataType, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable)


_LENGTHS = pa.list_(pa.struct([_field("upper_bound", pa.int32()), _field("documents", pa.int32())]))

SCHEMA = pa.schema(
    [
        _field("partition", pa.int64()),
        _field("ordinal", pa.int64()),
        _field("partition_id", pa.string()),
        _field("last", pa.bool_()),
        _field("rows_in", pa.int64()),
        _field("rows_out", pa.int64()),
        _field("rows_quarantined", pa.int64()),
        _field("shard", pa.string(), nullable=True),
        _field("shard_bytes", pa.int64()),
        _field("shard_sha256", pa.string()),
        _field("quarantine", pa.string(), nullable=True),
        _field("quarantine_bytes", pa.int64()),
        _field("quarantine_sha256", pa.string()),
        _field("first_id", pa.string(), nullable=True),
        _field("last_id", pa.string(), nullable=True),
        _field("documents", pa.int64()),
        _field("tokens", pa.int64()),
        _field("tokens_dropped", pa.int64()),
        _field("rows_truncated", pa.int64()),
        _field("token_lengths", _LENGTHS),
        _field("adopted", pa.bool_()),
        _field("provenance", pa.map_(pa.string(), pa.string())),
    ]
)
assert SCHEMA.names == [field.name for field in fields(Receipt)], "the table has one column for each field of a receipt"

NOT_COMPARED = ("adopted", "provenance")  # what differs from run to run


def to_table(receipts: Sequence[Receipt]) -> pa.Table:
    rows = [vars(receipt) | {"provenance": sorted(receipt.provenance.items())} for receipt in receipts]
    columns = {name: [row[name] for row in rows] for name in SCHEMA.names}
    columns["token_lengths"] = [[{"upper_bound": bound, "documents": count} for bound, count in lengths] for lengths in columns["token_lengths"]]
    return pa.table(columns, schema=SCHEMA)


def to_receipts(table: pa.Table) -> Iterator[Receipt]:
    """One at a time: a million of them never stand in memory as Python objects."""
    for batch in table.select(SCHEMA.names).to_batches(max_chunksize=1024):
        for row in batch.to_pylist():
            row["token_lengths"] = tuple((bucket["upper_bound"], bucket["documents"]) for bucket in row["token_lengths"])
            row["provenance"] = dict(row["provenance"])
            yield Receipt(**row)


def without_history(receipt: Receipt) -> dict[str, object]:
    """What two runs must agree on to be equal."""
    return {name: value for name, value in vars(receipt).items() if name not in NOT_COMPARED}


def contradictions(table: pa.Table) -> Iterator[str]:
    """Receipts whose account does not add up, in words."""
    total = pc.add(table.column("rows_out"), table.column("rows_quarantined"))
    has_shard, has_quarantine = (pc.greater(table.column(name), 0) for name in ("rows_out", "rows_quarantined"))
    wrong = pc.not_equal(table.column("rows_in"), total)
    for has_file, name in ((has_shard, "shard"), (has_quarantine, "quarantine")):
        wrong = pc.or_(wrong, pc.xor(has_file, pc.is_valid(table.column(name))))
    for receipt in to_receipts(table.filter(wrong)):
        rows = f"{receipt.rows_in} rows in, {receipt.rows_out} out, {receipt.rows_quarantined} quarantined"
        yield f"partition {receipt.partition} shard {receipt.ordinal}: {rows}, shard {receipt.shard}, quarantine {receipt.quarantine}: that does not add up"


@dataclass(frozen=True)
class Totals:
    """Sums over receipts. shards: data files; documents and rows are counted apart, since a document may one day be several rows."""

    documents: int
    rows_in: int
    rows_out: int
    rows_quarantined: int
    rows_truncated: int
    tokens: int
    tokens_dropped: int
    shards: int
    shard_bytes: int
    quarantine_files: int
    quarantine_bytes: int

    def to_json(self) -> dict[str, int]:
        return asdict(self)


def sum_receipts(table: pa.Table) -> Totals:
    counted = {"shards": "shard", "quarantine_files": "quarantine"}
    names = [field.name for field in fields(Totals) if field.name not in counted]
    sums = {name: pc.sum(table.column(name)).as_py() or 0 for name in names}
    return Totals(**sums, **{name: pc.count(table.column(column)).as_py() for name, column in counted.items()})


def sum_lengths(table: pa.Table) -> Histogram:
    buckets: Iterable[pa.Array] = (chunk.flatten() for chunk in table.column("token_lengths").chunks)
    return merge_lengths(
        tuple(zip(bucket.field("upper_bound").to_pylist(), bucket.field("documents").to_pylist(), strict=True)) for bucket in buckets
    )
