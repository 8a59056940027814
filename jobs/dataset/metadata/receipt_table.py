"""Receipts as a Parquet table: what commit log and manifest are made of, their sums, and when two of them say the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate, pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embermill.counts import several
from embermill.jobs.bookkeeping.stored_keys import added, added_fields, differing_keys, stored_form
from embermill.jobs.receipt import Receipt
from embermill.jobs.shard.contents import Damaged, check_schema, row_groups
from embermill.jobs.shard.footer import DATA, FILE_PATTERN, QUARANTINE
from embermill.jobs.token_lengths import Histogram, merge_lengths


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
        _field("input_digest", pa.string()),
        _field("values_clipped", pa.int64()),
        _field("unknown_words", pa.int64()),
    ]
)
assert SCHEMA.names == [field.name for field in fields(Receipt)], "the table has one column for each field of a receipt"

ADDED = added_fields(Receipt)  # columns that older commits lack, and what they mean without them
RECEIPTS_AT_A_TIME = 64  # as Python objects
LENGTHS_AT_A_TIME = 1024  # receipts whose length buckets are summed up at once
NOT_COMPARED = ("adopted", "provenance")  # what differs from run to run
ERASED = ("first_id", "last_id")  # null once `erase` has taken them out


def to_table(receipts: Sequence[Receipt]) -> pa.Table:
    """One row each. Column by column: a receipt has a hundred length buckets, and a Python object for each would weigh more than all else the driver holds."""
    arrays = [make(receipts) if (make := _MAKE.get(field.name)) else _scalars(receipts, field) for field in SCHEMA]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def pack(table: pa.Table) -> pa.Buffer:
    """The table in a fifth of its memory."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return sink.getvalue()


def unpack(packed: pa.Buffer, names: Sequence[str] | None = None) -> pa.Table:
    """names: the columns that are wanted; None: all."""
    fields = None if names is None else [SCHEMA.get_field_index(name) for name in names]
    with pa.ipc.open_stream(packed, options=pa.ipc.IpcReadOptions(included_fields=fields)) as reader:
        table = reader.read_all()
    return table if names is None else table.select(names)


def shard_keys(table: pa.Table) -> list[tuple[int, int]]:
    """(partition, ordinal) of each row: no two shards of a dataset share it."""
    return list(zip(table.column("partition").to_pylist(), table.column("ordinal").to_pylist(), strict=True))


def receipt_at(table: pa.Table, row: int) -> Receipt:
    return next(to_receipts(table.slice(row, 1)))


def _scalars(receipts: Sequence[Receipt], field: pa.Field) -> pa.Array:
    return pa.array([getattr(receipt, field.name) for receipt in receipts], field.type)


def _lengths(receipts: Sequence[Receipt]) -> pa.Array:
    pairs = [np.array(receipt.token_lengths, np.int32).reshape(-1, 2) for receipt in receipts]
    bounds, documents = np.concatenate([np.empty((0, 2), np.int32), *pairs]).T
    structs = pa.StructArray.from_arrays([pa.array(bounds), pa.array(documents)], fields=list(_LENGTHS.value_type))
    return pa.ListArray.from_arrays(_offsets(map(len, pairs)), structs, type=_LENGTHS)


def _provenance(receipts: Sequence[Receipt]) -> pa.Array:
    entries = [sorted(receipt.provenance.items()) for receipt in receipts]
    return pa.array(entries, SCHEMA.field("provenance").type)


_MAKE: dict[str, Callable[[Sequence[Receipt]], pa.Array]] = {"token_lengths": _lengths, "provenance": _provenance}


def _offsets(lengths: Iterable[int]) -> pa.Array:
    return pa.array([0, *accumulate(lengths)], pa.int32())


def read_receipts(parquet: pq.ParquetFile, schema: pa.Schema = SCHEMA) -> pa.Table:
    """A whole file of receipts (schema: SCHEMA, and what else it holds); columns that came later are filled in. Damaged where it holds anything else."""
    return pa.concat_tables([schema.empty_table(), *receipt_pieces(parquet, schema)])


def receipt_pieces(parquet: pq.ParquetFile, schema: pa.Schema = SCHEMA, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The same, a row group at a time. columns: those that are wanted; None: all."""
    found = set(parquet.schema_arrow.names)
    check_schema(parquet.schema_arrow, pa.schema([field for field in schema if field.name in found or field.name not in ADDED]))
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    for piece in row_groups(parquet, [name for name in wanted.names if name in found]):
        _require_own_names(piece)
        yield _filled(piece, wanted)


def _require_own_names(table: pa.Table) -> None:
    for column, folder in (("shard", DATA), ("quarantine", QUARANTINE)):
        if column not in table.column_names:
            continue
        names = pc.drop_null(table.column(column))
        foreign = names.filter(pc.invert(pc.match_substring_regex(names, f"^{folder}/{FILE_PATTERN}$")))
        if len(foreign):
            raise Damaged(f"it names a file that is none of a dataset's {folder}/: {foreign[0].as_py()[:200]!r}")


def same_rows(left: Iterable[pa.Table], right: Iterable[pa.Table]) -> bool:
    """Whether two tables hold the same rows; each comes in pieces, wherever those are cut."""
    lefts, rights = ((piece for piece in pieces if piece.num_rows) for pieces in (left, right))
    mine, theirs = next(lefts, None), next(rights, None)
    while mine is not None and theirs is not None:
        rows = min(mine.num_rows, theirs.num_rows)
        if not mine.slice(0, rows).equals(theirs.slice(0, rows)):
            return False
        mine = mine.slice(rows) if rows < mine.num_rows else next(lefts, None)
        theirs = theirs.slice(rows) if rows < theirs.num_rows else next(rights, None)
    return mine is None and theirs is None


def _filled(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        table.column(field.name) if field.name in table.column_names else pa.array([ADDED[field.name]] * table.num_rows, field.type) for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def to_receipts(table: pa.Table) -> Iterator[Receipt]:
    """One at a time: a million of them never stand in memory as Python objects."""
    for batch in table.select(SCHEMA.names).to_batches(max_chunksize=RECEIPTS_AT_A_TIME):
        columns = [_read_lengths(column) if name == "token_lengths" else column.to_pylist() for name, column in zip(SCHEMA.names, batch.columns, strict=True)]
        for values in zip(*columns, strict=True):
            row = dict(zip(SCHEMA.names, values, strict=True))
            yield Receipt(**row | {"provenance": dict(row["provenance"])})


def _read_lengths(column: pa.ListArray) -> Iterator[Histogram]:
    """The histogram of each row."""
    ends = np.cumsum(column.value_lengths().to_numpy()).tolist()
    bounds, documents = _buckets(column)
    for start, end in pairwise([0, *ends]):
        yield tuple(zip(bounds[start:end].tolist(), documents[start:end].tolist(), strict=True))


def without_history(receipt: Receipt) -> dict[str, object]:
    """What two runs must agree on to be equal."""
    return {name: value for name, value in vars(receipt).items() if name not in NOT_COMPARED}


def describe_differences(expected: Mapping[str, object], found: Mapping[str, object]) -> str:
    """"tokens 90, expected 91": every field in which two receipts differ; "" where none does."""
    differing = differing_keys(expected, found)
    return ", ".join(f"{name} {found[name]!r}, expected {value!r}" for name, value in expected.items() if name in differing)


def differences(expected: Receipt, found: Receipt, *, history: bool) -> str:
    """The same of two receipts of one shard, which may lack ids that the other names: `erase` takes them out of the manifest, then out of the commits.

    history: whether also what differs from run to run.
    """
    forgotten = {name for name in ERASED if None in (getattr(expected, name), getattr(found, name))}
    left_out = forgotten if history else forgotten.union(NOT_COMPARED)
    sides = ({name: value for name, value in vars(receipt).items() if name not in left_out} for receipt in (expected, found))
    return describe_differences(*sides)


def contradictions(table: pa.Table) -> Iterator[str]:
    """Receipts whose account does not add up, in words."""
    total = pc.add(table.column("rows_out"), table.column("rows_quarantined"))
    has_shard, has_quarantine = (pc.greater(table.column(name), 0) for name in ("rows_out", "rows_quarantined"))
    wrong = pc.not_equal(table.column("rows_in"), total)
    for has_file, name in ((has_shard, "shard"), (has_quarantine, "quarantine")):
        wrong = pc.or_(wrong, pc.xor(has_file, pc.is_valid(table.column(name))))
    for receipt in to_receipts(table.filter(wrong)):
        rows = f"{several(receipt.rows_in, 'row')} in, {receipt.rows_out} out, {receipt.rows_quarantined} quarantined"
        yield f"partition {receipt.partition} shard {receipt.ordinal}: {rows}, shard {receipt.shard}, quarantine {receipt.quarantine}: that does not add up"


@dataclass(frozen=True)
class Totals:
    """Sums over receipts. shards: data files; documents and rows are counted apart, since a document may be several rows."""

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
    values_clipped: int = added(0)
    unknown_words: int = added(0)

    @property
    def documents_in(self) -> int:
        """A document is written whole or refused whole."""
        return self.documents + self.rows_quarantined

    @property
    def all_quarantined(self) -> bool:
        """Whether a corpus that has rows gave none to embed: no limit lets that pass for a finished dataset."""
        return self.rows_quarantined > 0 and self.documents == 0

    def to_json(self) -> dict[str, int]:
        return stored_form(self)


_COUNTED = {"shards": "shard", "quarantine_files": "quarantine"}
SUMMED = tuple(_COUNTED.get(field.name, field.name) for field in fields(Totals))  # columns


def sum_receipts(table: pa.Table) -> Totals:
    """table: SUMMED, and maybe more."""
    sums = {field.name: pc.sum(table.column(field.name)).as_py() or 0 for field in fields(Totals) if field.name not in _COUNTED}
    return Totals(**sums, **{name: pc.count(table.column(column)).as_py() for name, column in _COUNTED.items()})


def add_totals(parts: Iterable[Totals]) -> Totals:
    """Of all receipts, from those of parts of them."""
    told = [vars(part) for part in parts]
    return Totals(**{field.name: sum(part[field.name] for part in told) for field in fields(Totals)})


def sum_lengths(table: pa.Table) -> Histogram:
    """One histogram of all documents."""
    batches = table.select(["token_lengths"]).to_batches(max_chunksize=LENGTHS_AT_A_TIME)
    return merge_lengths(_merge_alike(*_buckets(batch.column(0))) for batch in batches)


def _merge_alike(bounds: np.ndarray, documents: np.ndarray) -> Histogram:
    distinct, place = np.unique(bounds, return_inverse=True)
    return tuple(zip(distinct.tolist(), np.bincount(place, weights=documents).astype(np.int64).tolist(), strict=True))


def _buckets(column: pa.ListArray) -> tuple[np.ndarray, np.ndarray]:
    """(upper bounds, documents) of all rows, one after another."""
    buckets = column.flatten()
    return buckets.field(0).to_numpy(), buckets.field(1).to_numpy()
