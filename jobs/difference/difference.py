"""What differs between the rows of a version and those that were scanned since. Pure, for one bucket of ids at a time; memory follows the bucket.

    both, texts and kept columns equal    unchanged; moved where another file gives it
    both, the text differs                embed
    both, kept columns alone differ       copy: the vector stays
    only scanned                          embed, as a new row
    only before, its file read or gone    missing: deleted, or kept and counted, as the corpus is complete or not
    refused now, good before              stale: the old row stays
    one id twice                          the first in corpus order wins, the others are duplicates
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

UNKNOWN_FILE = -1  # the row's file was never told: only while every file is scanned
NO_FILE = -2  # no file gives the row any more, and it was kept


class Action(IntEnum):
    EMBED_NEW, EMBED_CHANGED, COPY, MOVED, MISSING, STALE, DUPLICATE = range(7)


WRITTEN = (Action.EMBED_NEW, Action.EMBED_CHANGED, Action.COPY)


def scan_schema(id_type: pa.DataType) -> pa.Schema:
    """Scanned rows. text_hash: null of a row that was refused. file: its number. part, row: the scanned partition, and the row's ordinal in it."""
    return pa.schema(
        [
            pa.field("id", id_type, nullable=False),
            pa.field("text_hash", pa.binary(16)),
            pa.field("meta_hash", pa.binary(8)),
            pa.field("file", pa.int32(), nullable=False),
            pa.field("part", pa.int32(), nullable=False),
            pa.field("row", pa.int32(), nullable=False),
        ]
    )


def difference_schema(id_type: pa.DataType) -> pa.Schema:
    """file, part, row: of the scanned row, -1 where there is none. shard, shard_row, version: of the row before, -1 where there was none."""
    numbers = ("file", "part", "row", "shard", "shard_row")
    return pa.schema(
        [
            pa.field("action", pa.int8(), nullable=False),
            pa.field("id", id_type, nullable=False),
            pa.field("text_hash", pa.binary(16)),
            pa.field("meta_hash", pa.binary(8)),
            *(pa.field(name, pa.int32(), nullable=False) for name in numbers),
            pa.field("version", pa.int64(), nullable=False),
        ]
    )


@dataclass(frozen=True)
class Files:
    """What is known of corpus files, by number. Files that are in neither array are gone.

    order: [F] place in the corpus, -1 of one that is not there. scanned: [F] bool. hidden: [F] bool, of scanned files with refused rows of unknown id, which
    may be any of those that are missing.
    """

    order: np.ndarray
    scanned: np.ndarray
    hidden: np.ndarray

    def place(self, numbers: np.ndarray) -> np.ndarray:
        return _of(self.order, numbers, -1)

    def is_read_or_gone(self, numbers: np.ndarray) -> np.ndarray:
        """[N] bool: whether a row of that file would have been scanned, were it still there."""
        found: np.ndarray = _of(self.scanned, numbers, True) | (self.place(numbers) < 0)
        return found

    def is_hidden(self, numbers: np.ndarray) -> np.ndarray:
        unknown = (numbers == UNKNOWN_FILE) & bool(self.hidden.any())  # it may be of any of those
        found: np.ndarray = _of(self.hidden, numbers, False) | unknown
        return found


@dataclass(frozen=True)
class Difference:
    """rows: difference_schema, of all that is not unchanged. unchanged: rows. shadowed: numbers of files that hold a row whose id another file gives.

    collapsed: rows before that shared an id with another one, and are one row now.
    """

    rows: pa.Table
    unchanged: int
    collapsed: int = 0
    shadowed: frozenset[int] = field(default_factory=frozenset)

    def count(self, action: Action) -> int:
        return int(pc.sum(pc.equal(self.rows.column("action"), pa.scalar(int(action), pa.int8()))).as_py() or 0)


def difference(previous: pa.Table, scanned: pa.Table, files: Files) -> Difference:
    """previous: keys_schema, the live rows of a bucket. scanned: scan_schema, rows of the same bucket in corpus order, (part, row) ascending."""
    codes = _Codes(previous.column("id"), scanned.column("id"))
    good = np.asarray(scanned.column("text_hash").is_valid())
    before, now = codes.previous, codes.scanned
    first_before = _first(before, np.arange(len(before)), codes.distinct)
    winner = _first(now[good], np.flatnonzero(good), codes.distinct)
    times_before = np.bincount(before, minlength=codes.distinct)
    old_file, new_file = _numbers(previous, "file"), _numbers(scanned, "file")

    won = np.flatnonzero(winner >= 0)
    rows, old = winner[won], first_before[won]
    elsewhere = np.zeros(len(won), bool)  # an id that a file gives which was not opened
    there = old >= 0
    elsewhere[there] = ~files.is_read_or_gone(old_file[old[there]])
    loses = elsewhere.copy()
    loses[elsewhere] = files.place(old_file[old[elsewhere]]) < files.place(new_file[rows[elsewhere]])
    winner[won[loses]] = -1

    losers = good & (winner[now] != np.arange(len(now)))
    shadowed = {*new_file[losers].tolist(), *old_file[old[elsewhere & ~loses]].tolist()}
    matched, parts = _match(previous, scanned, rows[~loses], old[~loses], times_before[won[~loses]])
    parts.append(_Part(Action.DUPLICATE, scanned_rows=np.flatnonzero(losers)))
    gone = np.flatnonzero((winner[before] < 0) & files.is_read_or_gone(old_file))
    refused = np.zeros(codes.distinct, bool)
    refused[now[~good]] = True
    stale = refused[before[gone]] | files.is_hidden(old_file[gone])
    parts += [_Part(Action.STALE, previous_rows=gone[stale]), _Part(Action.MISSING, previous_rows=gone[~stale])]
    nothing = difference_schema(scanned.schema.field("id").type).empty_table()
    table = pa.concat_tables([nothing, *(part.table(previous, scanned) for part in parts if part.rows)]).combine_chunks()
    collapsed = int((times_before[won[~loses & there]] - 1).sum())
    return Difference(table, matched, collapsed, frozenset(shadowed))


def _match(previous: pa.Table, scanned: pa.Table, rows: np.ndarray, old: np.ndarray, times: np.ndarray) -> tuple[int, list[_Part]]:
    """(rows that are unchanged, what became of the others). rows: of the scan; old: the row before of the same id, -1 where there was none.

    times: how many rows of that id there were before; several become one, which is written again.
    """
    new = old < 0
    parts = [_Part(Action.EMBED_NEW, scanned_rows=rows[new])]
    rows, old, times = rows[~new], old[~new], times[~new]
    same_text = _equal(previous, scanned, "text_hash", 16, old, rows)
    same_meta = _equal(previous, scanned, "meta_hash", 8, old, rows)
    copied = same_text & (~same_meta | (times > 1))
    same = same_text & same_meta & (times == 1)
    moved = same & (_numbers(previous, "file")[old] != _numbers(scanned, "file")[rows])
    parts += [
        _Part(Action.EMBED_CHANGED, rows[~same_text], old[~same_text]),
        _Part(Action.COPY, rows[copied], old[copied]),
        _Part(Action.MOVED, rows[moved], old[moved]),
    ]
    return int(np.count_nonzero(same & ~moved)), parts


@dataclass(frozen=True)
class _Part:
    """Rows of one action, by their places in the two tables."""

    action: Action
    scanned_rows: np.ndarray | None = None
    previous_rows: np.ndarray | None = None

    @property
    def rows(self) -> int:
        return max(len(places) for places in (self.scanned_rows, self.previous_rows) if places is not None)

    def table(self, previous: pa.Table, scanned: pa.Table) -> pa.Table:
        rows, old = self.scanned_rows, self.previous_rows
        told, at = (previous, old) if rows is None else (scanned, rows)
        assert at is not None
        count = len(at)
        take = told.select(["id", "text_hash", "meta_hash"]).take(pa.array(at))
        nothing = np.full(count, -1, np.int32)
        places = [nothing if rows is None else _numbers(scanned, name)[rows] for name in ("file", "part", "row")]
        if rows is None:
            places[0] = _numbers(previous, "file")[at]
        stood = [nothing if old is None else _numbers(previous, name)[old] for name in ("shard", "row", "version")]
        columns = [pa.array(np.full(count, int(self.action), np.int8)), *take.columns, *map(pa.array, places), *map(pa.array, stood[:2])]
        return pa.Table.from_arrays([*columns, pa.array(stood[2].astype(np.int64))], schema=difference_schema(told.schema.field("id").type))


class _Codes:
    """Ids as small integers, the same id as the same one on both sides."""

    def __init__(self, previous: pa.ChunkedArray, scanned: pa.ChunkedArray) -> None:
        chunks = [*previous.chunks, *scanned.cast(previous.type).chunks]
        joined = pa.chunked_array(chunks, previous.type).combine_chunks() if chunks else pa.array([], previous.type)
        encoded = joined.dictionary_encode() if isinstance(joined, pa.Array) else pa.concat_arrays(joined.chunks).dictionary_encode()
        indices = encoded.indices.to_numpy(zero_copy_only=False)
        self.distinct = len(encoded.dictionary)
        self.previous, self.scanned = indices[: len(previous)], indices[len(previous) :]


def _first(codes: np.ndarray, places: np.ndarray, distinct: int) -> np.ndarray:
    """[distinct] int64: the first of each code's places, -1 where it has none."""
    found = np.full(distinct, -1, np.int64)
    found[codes[::-1]] = places[::-1]  # of several values for one place the last one is kept
    return found


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    found: np.ndarray = table.column(name).to_numpy()
    return found


def _equal(previous: pa.Table, scanned: pa.Table, name: str, width: int, old: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """[N] bool: whether two hashes are the same."""
    left, right = (_digests(table.column(name), width)[at] for table, at in ((previous, old), (scanned, rows)))
    return np.asarray((left == right).all(axis=1))


def _digests(column: pa.ChunkedArray, width: int) -> np.ndarray:
    """[N, width / 8] uint64; of a null whatever is there."""
    if not len(column):
        return np.empty((0, width // 8), np.uint64)
    parts = list[np.ndarray]()
    for chunk in column.chunks:
        data = chunk.buffers()[1]
        values = np.frombuffer(data, np.uint64, data.size // 8)
        step = width // 8
        parts.append(values[chunk.offset * step : (chunk.offset + len(chunk)) * step].reshape(-1, step))
    found: np.ndarray = np.concatenate(parts)
    return found


def _of(values: np.ndarray, numbers: np.ndarray, absent: int | bool) -> np.ndarray:
    """values[numbers], `absent` for numbers that are none of its places."""
    inside = (numbers >= 0) & (numbers < len(values))
    found: np.ndarray = np.full(len(numbers), absent, values.dtype)
    found[inside] = values[numbers[inside]]
    return found
