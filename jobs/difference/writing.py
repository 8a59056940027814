"""Step 3: which rows are written, where each vector comes from, and in which partitions. Decided before any engine works, and written down once.

    _embermill/sync/000002/writes.json       Writes; created if absent
    _embermill/sync/000002/rows-HASH.pq      a row group for each partition: ROWS_SCHEMA
    _embermill/sync/000002/plan/000001/      the plan of these partitions (plan/files.py): first those that are embedded, then those that are copied
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embermill.jobs.bookkeeping.hashed_table import create_hashed
from embermill.jobs.bookkeeping.seal import read_json, sealed_json
from embermill.jobs.difference.claim import REMEDY
from embermill.jobs.difference.difference import WRITTEN, Action
from embermill.jobs.difference.differing import read_differences
from embermill.jobs.difference.known_texts import Source, Wanted, as_digests
from embermill.jobs.difference.making import sync_folder
from embermill.jobs.errors import MetadataDamaged
from embermill.jobs.partition import Partition
from embermill.jobs.plan.files import Plan
from embermill.jobs.storage import AlreadyExists, Folder

EMBED, THIS_VERSION = -1, -2  # in place of a source: by the engine; from what this version embeds
NUMBERS = ("part", "row", "shard", "shard_row", "action")  # of a difference
COPIED_BYTES = 64 << 20  # of vectors that one task holds
ROWS_SCHEMA = pa.schema([pa.field(name, pa.int32(), nullable=False) for name in ("row", "source", "source_row")])


@dataclass(frozen=True)
class Rows:
    """Rows to be written, in corpus order. part, row: where they were scanned. source: EMBED, THIS_VERSION or a place in `sources`."""

    part: np.ndarray
    row: np.ndarray
    source: np.ndarray
    source_row: np.ndarray
    sources: tuple[Source, ...] = ()

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True)
class WrittenPart:
    """One partition: `rows` of the scanned part, from the ordinal `first` to `last`. text_bytes: about. embed: by the engine, else copied."""

    part: int
    first: int
    last: int
    rows: int
    text_bytes: int
    embed: bool


@dataclass(frozen=True)
class Writes:
    """What was decided."""

    rows: dict[str, str]
    sources: tuple[Source, ...]
    partitions: tuple[WrittenPart, ...]

    @property
    def embedded(self) -> int:
        """Partitions that the engine is needed for: the first ones."""
        return sum(each.embed for each in self.partitions)

    @property
    def rows_embedded(self) -> int:
        return sum(each.rows for each in self.partitions if each.embed)

    @property
    def rows_copied(self) -> int:
        return sum(each.rows for each in self.partitions if not each.embed)


@dataclass(frozen=True)
class Candidates:
    """Rows to be written, before it is known which texts have a vector. digests: [N, 2] of the texts. wanted: distinct ones of rows that have none."""

    part: np.ndarray
    row: np.ndarray
    digests: np.ndarray
    copied: np.ndarray  # [N] bool: the row before has the vector
    shard: np.ndarray
    shard_row: np.ndarray

    @property
    def wanted(self) -> Wanted:
        return Wanted.of(self.digests[~self.copied])


def collect(folder: Folder, names: Sequence[str]) -> Candidates:
    """names: of all difference files. Memory: 45 bytes for each row that is written."""
    tables = [*read_differences(folder, names, NUMBERS, WRITTEN)]
    digests = [as_digests(table.column("text_hash")) for table in read_differences(folder, names, ["text_hash"], WRITTEN)]
    joined = {name: np.concatenate([np.empty(0, np.int32), *(table.column(name).to_numpy() for table in tables)]) for name in NUMBERS}
    order = np.lexsort((joined["row"], joined["part"]))
    by_text = np.concatenate([np.empty((0, 2), np.uint64), *digests])[order]
    taken = {name: values[order].astype(np.int32) for name, values in joined.items()}
    return Candidates(taken["part"], taken["row"], by_text, taken["action"] == int(Action.COPY), taken["shard"], taken["shard_row"])


def settle(found: Candidates, wanted: Wanted, source_of_shard: dict[int, int], sources: tuple[Source, ...]) -> Rows:
    """Where each vector comes from. wanted: with all that was found. Of the rows with one text that has no vector the first is embedded, the others copied."""
    source, source_row = np.full(len(found.row), EMBED, np.int32), np.zeros(len(found.row), np.int32)
    source[found.copied] = [source_of_shard[shard] for shard in found.shard[found.copied].tolist()]
    source_row[found.copied] = found.shard_row[found.copied]
    fresh = np.flatnonzero(~found.copied)
    places = wanted.places(found.digests[fresh])
    known = wanted.source[places] >= 0
    source[fresh[known]], source_row[fresh[known]] = wanted.source[places[known]], wanted.row[places[known]]
    unknown, of = fresh[~known], places[~known]
    first = np.zeros(len(wanted.digests), np.int64)
    first[of[::-1]] = unknown[::-1]
    source[unknown[unknown != first[of]]] = THIS_VERSION
    return Rows(found.part, found.row, source, source_row, sources)


def bytes_of_vectors(plan: Plan) -> int:
    """Of a row, while it is copied."""
    return sum(vector.row_bytes for vector in plan.stored) + (4 * sum(output.dim for output in plan.outputs) if plan.vectors else 0)


def cut_rows(rows: Rows, scans: Sequence[tuple[int, int]], *, embed_bytes: int, vector_bytes: int) -> list[tuple[np.ndarray, WrittenPart]]:
    """(places in rows, partition) of each: first those that are embedded, then those that are copied, each of one scanned part.

    scans: (rows, bytes of text) of each scanned part. embed_bytes: of text in a partition. vector_bytes: of a row's vectors.
    """
    made: list[tuple[np.ndarray, WrittenPart]] = []
    for embed in (True, False):
        chosen = np.flatnonzero((rows.source == EMBED) == embed)
        for places in np.split(chosen, np.flatnonzero(np.diff(rows.part[chosen])) + 1):
            if len(places):
                part = int(rows.part[places[0]])
                row_bytes = max(1, scans[part][1] // max(1, scans[part][0]))
                limit = embed_bytes // row_bytes if embed else COPIED_BYTES // max(1, vector_bytes)
                for piece in np.array_split(places, -(-len(places) // max(1, limit))):
                    first, last = (int(rows.row[piece[end]]) for end in (0, -1))
                    made.append((piece, WrittenPart(part, first, last, len(piece), row_bytes * len(piece), embed)))
    return made


def create_writes(folder: Folder, number: int, rows: Rows, cut: Sequence[tuple[np.ndarray, WrittenPart]]) -> Writes:
    """Write it down. Whoever was first is believed."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, ROWS_SCHEMA, version="2.6", compression="zstd", compression_level=1, write_page_checksum=True) as writer:
        for places, _ in cut:
            table = pa.table([pa.array(values[places]) for values in (rows.row, rows.source, rows.source_row)], schema=ROWS_SCHEMA)
            writer.write_table(table, row_group_size=max(1, len(places)))
    described = create_hashed(folder, f"{sync_folder(number)}/rows", sink.getvalue(), remedy=REMEDY)
    writes = Writes(described, rows.sources, tuple(part for _, part in cut))
    with contextlib.suppress(AlreadyExists):
        folder.create(_name(number), sealed_json(asdict(writes)))
    found = read_writes(folder, number)
    assert found is not None
    return found


def read_writes(folder: Folder, number: int) -> Writes | None:
    """None while it is not decided. MetadataDamaged where it cannot be read."""
    try:
        found = read_json(folder.read(_name(number)), frozenset())
        sources = tuple((str(address), str(name)) for address, name in found["sources"])
        return Writes(found["rows"], sources, tuple(WrittenPart(**each) for each in found["partitions"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise MetadataDamaged(folder.root, _name(number), f"is damaged: {error}", REMEDY) from error


def partitions_of(writes: Writes, scanned: Sequence[Partition]) -> tuple[Partition, ...]:
    """As the plan has them: each reads the segments of the part that it was scanned in."""
    return tuple(_partition(number, scanned[told.part], told) for number, told in enumerate(writes.partitions))


def _partition(number: int, scanned: Partition, told: WrittenPart) -> Partition:
    identity = hashlib.blake2b(json.dumps([scanned.id, *asdict(told).values()]).encode(), digest_size=4).hexdigest()
    return Partition(number, identity, scanned.segments, told.text_bytes)


def read_rows_of(folder: Folder, writes: Writes, partition: int) -> pa.Table:
    """ROWS_SCHEMA, in row order."""
    with folder.open(writes.rows["file"]) as file, pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        return parquet.read_row_group(partition)


def _name(number: int) -> str:
    return f"{sync_folder(number)}/writes.json"
