"""Keys: of every live row what a difference is made of (id, hashes) and where it stands. Derived from the shards, never trusted over them.

A version adds key files, each for a run of buckets: all keys of a base, later only the keys that changed (a deleted one has the shard GONE). A row group is
one bucket, sorted by id; the bucket of an id never changes while the number of buckets stays, which it does from one base to the next.

Of a dataset of chunks there is a key for each document: its hash, and where the first of its chunks stands, which all lie together.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embermill.counts import several
from embermill.jobs.corpus.chunk_columns import DOCUMENT_HASH, INDEX
from embermill.jobs.corpus.rows import RowSchema
from embermill.jobs.dataset.metadata.id_hash import bucket_of
from embermill.jobs.dataset.metadata.meta_hash import TYPE as META_HASH
from embermill.jobs.dataset.metadata.meta_hash import meta_hash
from embermill.jobs.dataset.metadata.versions import KEYS, Version, VersionFile
from embermill.jobs.errors import DataError
from embermill.jobs.shard.contents import Damaged, check_schema, open_parquet, string_buffers
from embermill.jobs.storage import AlreadyExists, Folder

KEYS_FOLDER = "_embermill/keys"
TEXT_HASH = pa.binary(16)  # the digest itself, half of the shards' hex digits
UNKNOWN_FILE = -1  # the row's corpus file is not known: the next sync scans every file
GONE = -1  # the shard and row of a deleted id
ROWS_PER_BUCKET = 500_000
MOST_BUCKETS = 1 << 16
_NAME = re.compile(rf"{KEYS_FOLDER}/(?P<version>\d{{6,}})/keys-(?P<first>\d{{5}})-(?P<end>\d{{5}})-of-(?P<buckets>\d{{5}})\.pq")


def keys_schema(id_type: pa.DataType) -> pa.Schema:
    """id: string or int64, as the dataset's; of a dataset of chunks the document's. file: number of the corpus file in the version's inputs.

    shard: VersionFile.number. row: within that shard.

    version: in which the row last changed. Hashes are null of a deleted id alone.
    """
    return pa.schema(
        [
            pa.field("id", id_type, nullable=False),
            pa.field("text_hash", TEXT_HASH),
            pa.field("meta_hash", META_HASH),
            pa.field("file", pa.int32(), nullable=False),
            pa.field("shard", pa.int32(), nullable=False),
            pa.field("row", pa.int32(), nullable=False),
            pa.field("version", pa.int64(), nullable=False),
        ]
    )


@dataclass(frozen=True)
class KeyRange:
    """Which buckets a key file holds, by its name: [first, end) of `buckets`."""

    version: int
    first: int
    end: int
    buckets: int

    @property
    def name(self) -> str:
        return f"{KEYS_FOLDER}/{self.version:06d}/keys-{self.first:05d}-{self.end:05d}-of-{self.buckets:05d}.pq"


def parse_keys_name(name: str) -> KeyRange | None:
    match = _NAME.fullmatch(name)
    return None if match is None else KeyRange(*(int(match[key]) for key in ("version", "first", "end", "buckets")))


def buckets_for(rows: int) -> int:
    """A power of two, so that a bucket holds about ROWS_PER_BUCKET rows at most; 1 for small datasets."""
    wanted = 1
    while wanted * ROWS_PER_BUCKET < rows and wanted < MOST_BUCKETS:
        wanted *= 2
    return wanted


def buckets_of(version: Version) -> int | None:
    """How many buckets this version's keys are in; None where it has no keys."""
    ranges = [parse_keys_name(file.name) for file in version.of_kind(KEYS)]
    return ranges[0].buckets if ranges and ranges[0] is not None else None


def digest_text_hashes(hashes: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The shards' text_hash (32 hex digits, no nulls) as binary(16)."""
    chunks = hashes.chunks if isinstance(hashes, pa.ChunkedArray) else [hashes]
    digests = b"".join(bytes.fromhex(bytes(data[offsets[0] : offsets[-1]]).decode()) for data, offsets in map(string_buffers, chunks))
    return pa.Array.from_buffers(TEXT_HASH, len(hashes), [None, pa.py_buffer(digests)])


def keys_of_rows(
    rows: pa.Table, *, id_name: str, kept: Sequence[str], files: np.ndarray | int, shard: int, first_row: int, version: int | None = None
) -> pa.Table:
    """The keys of some rows of a shard, in row order: keys_schema.

    rows: of the dataset's schema, at [first_row, first_row + N) of the shard; with no column `version`, or where `version` is given, they are of that one.
    kept: names of the kept columns in the dataset. files: of each row, or of all.
    """
    count = rows.num_rows
    versions = rows.column("version") if version is None else pa.array(np.full(count, version, np.int64))
    ids = rows.column(id_name)
    arrays = [
        ids,
        digest_text_hashes(rows.column("text_hash")),
        meta_hash(rows, kept),
        pa.array(np.broadcast_to(np.asarray(files, np.int32), count)),
        pa.array(np.full(count, shard, np.int32)),
        pa.array(np.arange(first_row, first_row + count, dtype=np.int32)),
        versions,
    ]
    return pa.Table.from_arrays(arrays, schema=keys_schema(ids.type))


def key_columns(schema: RowSchema) -> list[str]:
    """Columns of the dataset that keys are made of, beside the version."""
    kept = [name for _, name, _ in schema.kept]
    return [schema.key_name, *((DOCUMENT_HASH, INDEX) if schema.is_chunked else ("text_hash",)), *kept]


def keys_of_dataset(
    rows: pa.Table, schema: RowSchema, *, files: np.ndarray | int, shard: int, first_row: int, version: int | None = None
) -> pa.Table:
    """The same, of rows with key_columns: a key for each row, or of a dataset of chunks for each document, at the row of its first chunk."""
    kept, places = [name for _, name, _ in schema.kept], np.arange(rows.num_rows)
    if schema.is_chunked:
        places = np.flatnonzero(rows.column(INDEX).to_numpy() == 0)
        names = [name for name in (*key_columns(schema), *(("version",) if version is None else ())) if name != INDEX]
        rows = rows.select(names).take(pa.array(places)).rename_columns(["text_hash" if name == DOCUMENT_HASH else name for name in names])
        files = files if isinstance(files, int) else files[places]
    keys = keys_of_rows(rows, id_name=schema.key_name, kept=kept, files=files, shard=shard, first_row=0, version=version)
    at = keys.schema.get_field_index("row")
    return keys.set_column(at, keys.schema.field(at), pa.array((places + first_row).astype(np.int32)))


def deleted_keys(ids: pa.Array | pa.ChunkedArray, version: int) -> pa.Table:
    """What a version's keys say of ids that it deletes."""
    count, schema = len(ids), keys_schema(ids.type)
    gone = pa.array(np.full(count, GONE, np.int32))
    arrays = [ids, pa.nulls(count, TEXT_HASH), pa.nulls(count, META_HASH), gone, gone, gone, pa.array(np.full(count, version, np.int64))]
    return pa.Table.from_arrays(arrays, schema=schema)


def split_by_bucket(table: pa.Table, buckets: int) -> dict[int, pa.Table]:
    """Bucket -> its keys, in the order they had; buckets without any are left out."""
    if not table.num_rows:
        return {}
    numbers = bucket_of(table.column("id"), buckets)
    order = np.argsort(numbers, kind="stable")
    found, starts = np.unique(numbers[order], return_index=True)
    table = table.take(pa.array(order))
    ends = [*starts[1:].tolist(), table.num_rows]
    return {int(bucket): table.slice(start, end - start) for bucket, start, end in zip(found, starts.tolist(), ends, strict=True)}


def publish_keys(folder: Folder, place: KeyRange, by_bucket: Mapping[int, pa.Table], id_type: pa.DataType, number: int) -> VersionFile:
    """Write and publish one key file. by_bucket: bucket -> keys in any order, for buckets of the range alone. number: the file's, see Version.next_file.

    The same keys give the same bytes. Whoever published the same before is believed; DataError where it holds other keys.
    """
    data = to_bytes(place, (by_bucket.get(bucket) for bucket in range(place.first, place.end)), id_type)
    try:
        folder.create(place.name, data)
    except AlreadyExists:
        if folder.read(place.name) != data:
            raise DataError(f"{folder.root}/{place.name}: it holds other keys than this version has: `embermill repair` rebuilds them") from None
    rows = sum(table.num_rows for table in by_bucket.values())
    return VersionFile(number, KEYS, place.name, rows, len(data), hashlib.sha256(data).hexdigest(), place.version)


def to_bytes(place: KeyRange, tables: Iterable[pa.Table | None], id_type: pa.DataType) -> bytes:
    schema, sink = keys_schema(id_type), io.BytesIO()
    encoding = {"id": "DELTA_BYTE_ARRAY"} if pa.types.is_string(id_type) else {"id": "DELTA_BINARY_PACKED"}
    settings = {"version": "2.6", "compression": "zstd", "compression_level": 1, "write_page_checksum": True, "use_dictionary": ["file", "shard", "version"]}
    with pq.ParquetWriter(sink, schema, column_encoding=encoding, **settings) as writer:
        for table in tables:
            keys = schema.empty_table() if table is None else table.cast(schema).sort_by([("id", "ascending"), ("version", "ascending")])
            writer.write_table(keys.combine_chunks(), row_group_size=max(1, keys.num_rows))
    return sink.getvalue()


def read_bucket(folder: Folder, file: VersionFile, bucket: int) -> pa.Table | None:
    """One bucket of a key file, sorted by id; None where the file is of other buckets. DataError where it is gone or damaged."""
    place = parse_keys_name(file.name)
    if place is None or not place.first <= bucket < place.end:
        return None
    try:
        with folder.open(file.name) as opened, open_parquet(opened) as parquet:
            check_schema(parquet.schema_arrow, keys_schema(parquet.schema_arrow.field("id").type))
            if parquet.num_row_groups != place.end - place.first:
                raise Damaged(f"it holds {several(parquet.num_row_groups, 'row group')} for {several(place.end - place.first, 'bucket')}")
            return parquet.read_row_group(bucket - place.first)
    except FileNotFoundError:
        raise DataError(f"{folder.root}/{file.name}: is gone; `embermill repair` rebuilds it") from None
    except (Damaged, KeyError) as error:
        raise DataError(f"{folder.root}/{file.name}: {error}; `embermill repair` rebuilds it") from None


def live_keys(folder: Folder, version: Version, bucket: int, id_type: pa.DataType) -> pa.Table:
    """The keys of all live rows of a bucket, in no order: of each id the newest, and none of deleted ids."""
    tables = [table for file in version.of_kind(KEYS) if (table := read_bucket(folder, file, bucket)) is not None]
    return newest_keys(tables, id_type)


def newest_keys(tables: Sequence[pa.Table], id_type: pa.DataType) -> pa.Table:
    """Of several key tables, the first of them a base's and the later ones those of later versions in order: what is live after all of them."""
    schema = keys_schema(id_type)
    if not tables:
        return schema.empty_table()
    if len(tables) == 1:
        return _standing(tables[0])
    changes = _last_of_each(pa.concat_tables(tables[1:]))
    untouched = tables[0].filter(pc.invert(pc.is_in(tables[0].column("id"), changes.column("id").combine_chunks())))
    return pa.concat_tables([_standing(untouched), _standing(changes)])


def _standing(table: pa.Table) -> pa.Table:
    return table.filter(pc.greater(table.column("shard"), GONE))


def _last_of_each(table: pa.Table) -> pa.Table:
    """The last row of each id."""
    numbered = table.select(["id"]).append_column("place", pa.array(np.arange(table.num_rows)))
    last = numbered.group_by("id", use_threads=False).aggregate([("place", "max")])
    return table.take(last.column("place_max").combine_chunks())


def all_live_keys(folder: Folder, version: Version, id_type: pa.DataType) -> Iterator[tuple[int, pa.Table]]:
    """(bucket, its live keys) of every bucket in order."""
    for bucket in range(buckets_of(version) or 0):
        yield bucket, live_keys(folder, version, bucket, id_type)
