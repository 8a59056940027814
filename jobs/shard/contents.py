"""What is in a shard or quarantine file, read back with every page checksum verified, in pieces of bounded size."""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embermill.counts import several
from embermill.jobs.corpus.chunk_columns import COUNT, INDEX
from embermill.jobs.corpus.rows import RowSchema
from embermill.jobs.errors import DataError
from embermill.jobs.plan.files import Plan, schema_from_text
from embermill.jobs.shard.footer import SCHEMA_KEY, Footer
from embermill.jobs.token_lengths import Histogram, count_lengths, merge_lengths

Source = Path | BinaryIO

BUFFER_BYTES = 4 << 20  # of a column that is being read: one request to an object store
LOCAL_BUFFER_BYTES = 1 << 17  # of a file of this machine: what is read of it is decoded while the cache still has it, in an eighth less time
PIECE_BYTES = 4 << 20  # uncompressed, of rows that are looked at together


class Damaged(DataError):
    """Not a whole file of the expected schema: torn, flipped, foreign, or with values that no writer of ours lets through."""


@dataclass(frozen=True)
class ShardContents:
    """Everything about a shard that a receipt tells, from the file itself. key_digest: of its ids and text hashes, in row order."""

    footer: Footer | None
    rows: int
    first_id: str | None
    last_id: str | None
    key_digest: str
    tokens: int
    tokens_dropped: int
    rows_truncated: int
    token_lengths: Histogram
    documents: int


class RowTally:
    """Sums over the rows of one shard, whatever pieces they come in: the writer's account and the reader's are the same code."""

    def __init__(self, schema: RowSchema) -> None:
        self.id_name = schema.id_name
        self._documents = WholeDocuments() if schema.is_chunked else None
        self.rows = self.tokens = self.tokens_dropped = self.rows_truncated = 0
        self.first_id: str | None = None
        self.last_id: str | None = None
        self._lengths: list[Histogram] = []
        self._keys = KeyDigest()

    def add(self, table: pa.Table) -> None:
        """table: some rows of the output schema."""
        if not table.num_rows:
            return
        ids = table.column(self.id_name)
        if self.first_id is None:
            self.first_id = str(ids[0].as_py())
        self.last_id = str(ids[-1].as_py())
        num_tokens, dropped = (table.column(name).to_numpy() for name in ("num_tokens", "num_tokens_dropped"))
        self.rows += table.num_rows
        self.tokens += int(num_tokens.sum(dtype=np.int64))
        self.tokens_dropped += int(dropped.sum(dtype=np.int64))
        self.rows_truncated += int(np.count_nonzero(dropped))
        self._lengths = [merge_lengths([*self._lengths, count_lengths(num_tokens)])]
        self._keys.add(ids, table.column("text_hash"))
        if self._documents is not None:
            self._documents.add(table)

    def contents(self, footer: Footer | None) -> ShardContents:
        lengths = self._lengths[0] if self._lengths else ()
        digest = self._keys.hexdigest()
        documents = self.rows if self._documents is None else self._documents.finished()
        return ShardContents(
            footer, self.rows, self.first_id, self.last_id, digest, self.tokens, self.tokens_dropped, self.rows_truncated, lengths, documents
        )


class WholeDocuments:
    """Counts the documents of a shard of chunks. Damaged where one is not whole: its chunks stand together, numbered from 0 to chunk_count - 1."""

    def __init__(self) -> None:
        self._left = self._next = self._count = 0  # chunks that the last document lacks so far, their next index, documents

    def add(self, table: pa.Table) -> None:
        index, count = (table.column(name).to_numpy() for name in (INDEX, COUNT))
        starts = np.flatnonzero(index == 0)
        expected = np.arange(len(index)) + self._next
        expected[starts[0] if len(starts) else len(index) :] = 0
        if len(starts):
            sizes = np.diff(np.append(starts, len(index)))
            expected[starts[0] :] = np.arange(len(index) - starts[0]) - np.repeat(starts - starts[0], sizes)
            whole = count[starts] == sizes
            whole[-1] = count[starts[-1]] >= sizes[-1]
            if not whole.all() or self._left != starts[0]:
                raise Damaged(f"the document of row {int(starts[np.argmin(whole)])} of a piece is not whole: its chunks do not stand together")
            self._left, self._next = int(count[starts[-1]] - sizes[-1]), int(sizes[-1])
        else:
            self._left, self._next = self._left - len(index), self._next + len(index)
        if self._left < 0 or not np.array_equal(expected, index):
            raise Damaged(f"{INDEX} does not number the chunks of a document from 0 on")
        self._count += len(starts)

    def finished(self) -> int:
        if self._left:
            raise Damaged(f"its last document lacks {several(self._left, 'chunk')}")
        return self._count


class KeyDigest:
    """Digest of ids and text hashes in row order; where the pieces are cut does not matter."""

    def __init__(self) -> None:
        self._digests: dict[int, tuple[hashlib.blake2b, hashlib.blake2b]] = {}

    def add(self, *columns: pa.ChunkedArray) -> None:
        for number, column in enumerate(columns):
            values, lengths = self._digests.setdefault(number, (hashlib.blake2b(digest_size=16), hashlib.blake2b(digest_size=16)))
            for chunk in column.chunks:
                if pa.types.is_integer(chunk.type):
                    values.update(chunk.to_numpy().astype("<i8", order="C", copy=False).data)
                else:
                    data, offsets = string_buffers(chunk)
                    values.update(data[offsets[0] : offsets[-1]])
                    lengths.update(np.diff(offsets).astype("<i8").data)

    def hexdigest(self) -> str:
        return "".join(digest.hexdigest() for pair in self._digests.values() for digest in pair)


def string_buffers(array: pa.Array) -> tuple[memoryview, np.ndarray]:
    """A string array as (UTF-8 bytes, offsets [N + 1] into them); nulls are empty. No copy for string and large_string."""
    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        array = array.cast(pa.large_string())
    _, offsets, data = array.buffers()
    width = np.dtype(np.int32 if pa.types.is_string(array.type) else np.int64)
    if offsets is None:
        return memoryview(b""), np.zeros(1, width)
    return memoryview(data if data is not None else b""), np.frombuffer(offsets, width, len(array) + 1, array.offset * width.itemsize)


def read_shard(source: Source, plan: Plan, each: Callable[[pa.Table], None] | None = None) -> ShardContents:
    """Read all of a shard: schema, checksums, valid and finite values. each: also gets every piece, in row order. Raises Damaged."""
    tally = RowTally(plan.rows)
    with open_parquet(source) as parquet:
        check_schema(parquet.schema_arrow, plan.schema)
        footer = Footer.from_metadata(parquet.metadata.metadata)
        for table in pieces(parquet):
            table.validate(full=True)
            check_values(table, plan, tally.rows)
            tally.add(table)
            if each is not None:
                each(table)
    contents = tally.contents(footer)
    if footer is not None and footer.rows_out != contents.rows:
        raise Damaged(f"it holds {several(contents.rows, 'row')}, its footer says {footer.rows_out}")
    return contents


class _ParquetFile(pq.ParquetFile):  # type: ignore[misc]
    """A portable file tells its Arrow schema under a key of ours: its columns come back in these types. Any other file is as pyarrow has it."""

    @functools.cached_property
    def _own_schema(self) -> pa.Schema | None:
        told = (self.metadata.metadata or {}).get(SCHEMA_KEY.encode())
        try:
            return None if told is None else _as_stored(schema_from_text(told.decode("ascii", "replace")))
        except (ValueError, pa.ArrowException) as error:
            raise Damaged(f"the schema in its footer cannot be read: {error}") from error

    @property
    def schema_arrow(self) -> pa.Schema:
        found = super().schema_arrow
        return found if self._own_schema is None or self._own_schema.names != found.names else self._own_schema

    def iter_batches(self, *arguments: Any, **options: Any) -> Iterator[pa.RecordBatch]:
        for batch in super().iter_batches(*arguments, **options):
            yield batch if self._own_schema is None else batch.cast(self._part(batch.schema))

    def read_row_group(self, *arguments: Any, **options: Any) -> pa.Table:
        table = super().read_row_group(*arguments, **options)
        return table if self._own_schema is None else table.cast(self._part(table.schema))

    def _part(self, found: pa.Schema) -> pa.Schema:
        assert self._own_schema is not None
        return pa.schema([self._own_schema.field(name) if name in self._own_schema.names else found.field(name) for name in found.names])


@contextmanager
def open_parquet(source: Source) -> Iterator[pq.ParquetFile]:
    """A Parquet file with checksum verification on; what pyarrow finds wrong in it, now or while it is read, is Damaged.

    Column chunks stream through a buffer: by default pyarrow would load those of every row group that is asked for before it decodes the first page.
    """
    try:
        buffer = LOCAL_BUFFER_BYTES if isinstance(source, Path | io.BufferedReader) else BUFFER_BYTES
        with _ParquetFile(source, buffer_size=buffer, pre_buffer=False, page_checksum_verification=True) as parquet:
            names = parquet.schema_arrow.names
            if len(set(names)) < len(names):
                raise Damaged(f"two of its columns are called {next(name for name in names if names.count(name) > 1)!r}")
            yield parquet
    except (pa.ArrowException, UnicodeDecodeError) as error:  # the latter for the name of a column
        raise Damaged(f"it is not a whole Parquet file: {error}") from error
    except OSError as error:
        if error.errno is not None or isinstance(error, FileNotFoundError):
            raise  # the disk's or the store's word, not pyarrow's about the bytes
        raise Damaged(f"it is not a whole Parquet file: {error}") from error


def pieces(parquet: pq.ParquetFile) -> Iterator[pa.Table]:
    """All rows in order, some PIECE_BYTES at a time: to decode a whole row group of vectors takes five times its bytes."""
    for number in range(parquet.num_row_groups):
        group = parquet.metadata.row_group(number)
        rows = max(1, group.num_rows * PIECE_BYTES // max(1, group.total_byte_size))
        for batch in parquet.iter_batches(min(rows, max(1, group.num_rows)), row_groups=[number], use_threads=False):
            yield pa.Table.from_batches([batch])


def row_groups(parquet: pq.ParquetFile, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """columns: a few small ones, which this thread has decoded before Arrow's would have been woken; None: all of them."""
    for number in range(parquet.num_row_groups):
        yield parquet.read_row_group(number, columns=None if columns is None else list(columns), use_threads=columns is None)


def check_schema(found: pa.Schema, expected: pa.Schema) -> None:
    stored = _as_stored(expected)
    if not found.equals(stored, check_metadata=False):
        raise Damaged(f"its schema is not the plan's: expected\n{stored.remove_metadata()}\ncame\n{found.remove_metadata()}")


@functools.lru_cache(maxsize=8)
def _as_stored(schema: pa.Schema) -> pa.Schema:
    """What Parquet gives back for a schema: it knows no seconds and no date64, and says timestamp[ms] and date32 instead."""
    sink = io.BytesIO()
    pq.write_table(schema.empty_table(), sink)
    return pq.read_schema(sink)


def check_values(table: pa.Table, plan: Plan, first_row: int) -> None:
    """No null where the schema says so, vectors finite, text hashes of the right form. first_row: the table's, within the shard."""
    for field in plan.schema:
        if not field.nullable and table.column(field.name).null_count:
            raise Damaged(f"column {field.name} holds nulls")
    for stored in plan.stored:
        vectors = to_matrix(table.column(stored.column))
        if vectors.dtype.kind == "f" and not all_finite(vectors):
            raise Damaged(f"column {stored.column} holds a vector that is not finite, in row {first_row + first_not_finite(vectors)}")
    for chunk in table.column("text_hash").chunks:
        if not _are_text_hashes(chunk):
            raise Damaged("text_hash holds something other than 32 hex digits")
    if table.num_rows and min(pc.min(table.column(name)).as_py() for name in ("num_tokens", "num_tokens_dropped")) < 0:
        raise Damaged("a token count is negative")


def to_matrix(column: pa.ChunkedArray) -> np.ndarray:
    """A column of lists, all of one length, as [rows, dim]; no copy where it is one chunk. Of portable shards the type does not say the length."""
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    numbers = np.asarray(array.flatten().to_numpy(zero_copy_only=False))
    return numbers.reshape(-1, column.type.list_size if pa.types.is_fixed_size_list(column.type) else len(numbers) // max(1, len(array)))


def all_finite(vectors: np.ndarray) -> bool:
    """A finite sum proves it without a temporary array; only a sum that overflows needs the slow look."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(vectors.sum())) or bool(np.isfinite(vectors).all())


def first_not_finite(vectors: np.ndarray) -> int:
    return int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])


def _are_text_hashes(hashes: pa.Array) -> bool:
    data, offsets = string_buffers(hashes)
    digits = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
    is_digit = ((digits >= ord("0")) & (digits <= ord("9"))) | ((digits >= ord("a")) & (digits <= ord("f")))
    return bool((np.diff(offsets) == 32).all()) and bool(is_digit.all())


def file_sha256(file: BinaryIO) -> str:
    """Of the rest of an open file, in bounded memory."""
    digest = hashlib.sha256()
    while piece := file.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()
