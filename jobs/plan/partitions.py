"""The partitions of a plan as they are stored: a table of segments. A million of them as Python objects would be a gigabyte, so each is made when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.partition import Partition, Segment

MOST_AT_A_TIME, SEGMENTS_AT_A_TIME = 256, 4096  # partitions that are made together: a driver hands them out in order
BLOCKS_KEPT = 4
SEGMENT_SCHEMA = pa.schema(
    [
        ("partition", pa.int64()),
        ("partition_id", pa.string()),
        ("text_bytes", pa.int64()),
        ("path", pa.string()),
        ("name", pa.string()),
        ("format", pa.string()),
        ("compression", pa.string()),
        ("size", pa.int64()),
        ("version", pa.string()),
        ("kind", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
    ]
)
REPEATED = ("path", "name", "format", "compression", "version", "kind")  # columns of few values, held as dictionaries
WRITTEN_AT_A_TIME = 1 << 13  # partitions
KNOWN_KINDS, UNKNOWN_ROWS = ("rows", "unreadable"), -1  # segments of which the plan knows how many rows they are
OF_PARTITIONS = ("partition", "partition_id", "text_bytes")  # columns that are alike in all segments of a partition


class StoredPartitions(Sequence[Partition]):
    """Partitions in order of their number. table: SEGMENT_SCHEMA, those of a partition one after another, partitions numbered by their place."""

    def __init__(self, table: pa.Table) -> None:
        for name in REPEATED:
            table = table.set_column(table.column_names.index(name), name, table.column(name).dictionary_encode())
        self._table = table
        self._starts = np.flatnonzero(np.diff(table.column("partition").to_numpy(), prepend=np.int64(-1)))  # of each partition's rows
        segments = max(1, table.num_rows // max(1, len(self._starts)))  # of a partition, on average
        self._at_a_time: int = max(1, min(MOST_AT_A_TIME, SEGMENTS_AT_A_TIME // segments))
        self._block = lru_cache(maxsize=BLOCKS_KEPT)(self._make_block)

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, place: int, /) -> Partition: ...
    @overload
    def __getitem__(self, place: slice, /) -> tuple[Partition, ...]: ...
    def __getitem__(self, place: int | slice, /) -> Partition | tuple[Partition, ...]:
        if isinstance(place, slice):
            return tuple(self[number] for number in range(*place.indices(len(self))))
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        block, within = divmod(place % len(self), self._at_a_time)
        return self._block(block)[within]

    def __iter__(self) -> Iterator[Partition]:
        for block in range(-(-len(self) // self._at_a_time)):
            yield from self._make_block(block)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    @property
    def ids(self) -> pa.Array:
        return self._table.column("partition_id").take(pa.array(self._starts)).combine_chunks()

    @property
    def text_bytes(self) -> np.ndarray:
        column: np.ndarray = self._table.column("text_bytes").to_numpy()
        return column[self._starts]

    @property
    def known_rows(self) -> np.ndarray:
        """See known_rows_of."""
        kinds, start, end = (self._table.column(name) for name in ("kind", "start", "end"))
        is_known = pc.is_in(kinds.cast(pa.string()), pa.array(KNOWN_KINDS)).to_numpy()
        rows = np.where(is_known, end.to_numpy() - start.to_numpy(), 0)
        if not len(self):
            return rows
        return np.where(np.logical_and.reduceat(is_known, self._starts), np.add.reduceat(rows, self._starts), UNKNOWN_ROWS)

    def _make_block(self, block: int) -> tuple[Partition, ...]:
        first, end = block * self._at_a_time, min((block + 1) * self._at_a_time, len(self))
        edges = [*self._starts[first:end].tolist(), int(self._starts[end]) if end < len(self) else self._table.num_rows]
        rows = self._table.slice(edges[0], edges[-1] - edges[0])
        columns = {name: rows.column(name).to_pylist() for name in rows.column_names}
        ids, text_bytes = columns["partition_id"], columns["text_bytes"]
        names = [name for name in columns if name not in OF_PARTITIONS]
        segments = [Segment(**dict(zip(names, values, strict=True))) for values in zip(*(columns[name] for name in names), strict=True)]
        made = []
        for number, (start, stop) in enumerate(pairwise(edges), first):
            at = start - edges[0]
            made.append(Partition(number, ids[at], tuple(segments[at : stop - edges[0]]), text_bytes[at]))
        return tuple(made)


def segment_table(partitions: Sequence[Partition]) -> pa.Table:
    """SEGMENT_SCHEMA."""
    pieces = [SEGMENT_SCHEMA.empty_table()]
    for first in range(0, len(partitions), WRITTEN_AT_A_TIME):
        rows = [
            {"partition": partition.number, "partition_id": partition.id, "text_bytes": partition.text_bytes, **segment.planned()}
            for partition in partitions[first : first + WRITTEN_AT_A_TIME]
            for segment in partition.segments
        ]
        pieces.append(pa.Table.from_pylist(rows, schema=SEGMENT_SCHEMA))
    return pa.concat_tables(pieces).combine_chunks()


class ChosenPartitions(Sequence[Partition]):
    """Some of them, by number, ascending."""

    def __init__(self, partitions: Sequence[Partition], numbers: Sequence[int]) -> None:
        self._partitions, self.numbers = partitions, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, place: int, /) -> Partition: ...
    @overload
    def __getitem__(self, place: slice, /) -> tuple[Partition, ...]: ...
    def __getitem__(self, place: int | slice, /) -> Partition | tuple[Partition, ...]:
        if isinstance(place, slice):
            return tuple(self._partitions[number] for number in self.numbers[place])
        return self._partitions[self.numbers[place]]

    def __iter__(self) -> Iterator[Partition]:
        return (self._partitions[number] for number in self.numbers)


def numbers_of(partitions: Sequence[Partition]) -> Sequence[int]:
    """Their numbers, in order: where they are all of a plan, from 0 on, a range."""
    if isinstance(partitions, StoredPartitions):
        return range(len(partitions))
    if isinstance(partitions, ChosenPartitions):
        return partitions.numbers
    numbers = [partition.number for partition in partitions]
    return range(len(numbers)) if numbers == list(range(len(numbers))) else numbers


def ids_of(partitions: Sequence[Partition]) -> pa.Array:
    """Their ids, in order: strings."""
    return partitions.ids if isinstance(partitions, StoredPartitions) else pa.array([partition.id for partition in partitions], pa.string())


def text_bytes_of(partitions: Sequence[Partition]) -> np.ndarray:
    """The bytes of text that each was packed by, in order: int64."""
    if isinstance(partitions, StoredPartitions):
        return partitions.text_bytes
    return np.array([partition.text_bytes for partition in partitions], np.int64)


def known_rows(partition: Partition) -> int | None:
    """Input rows, where the plan knows them: row ranges of Parquet, and a file that cannot be read, which counts as one."""
    if any(segment.kind not in KNOWN_KINDS for segment in partition.segments):
        return None
    return sum(segment.end - segment.start for segment in partition.segments)


def known_rows_of(partitions: Sequence[Partition]) -> np.ndarray:
    """The same of each, in order: int64, UNKNOWN_ROWS where the plan does not know."""
    if isinstance(partitions, StoredPartitions):
        return partitions.known_rows
    found = (known_rows(partition) for partition in partitions)
    return np.array([UNKNOWN_ROWS if rows is None else rows for rows in found], np.int64)


class Places:
    """The place of each partition among some of them, by its number."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._range = numbers if isinstance(numbers, range) else None
        self._places = {} if isinstance(numbers, range) else {number: place for place, number in enumerate(numbers)}

    def find(self, number: int) -> int | None:
        """None where it is not among them."""
        if self._range is not None:
            return number - self._range.start if number in self._range else None
        return self._places.get(number)
