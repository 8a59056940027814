"""Rows on their way from a corpus file to the engine: as a format's reader found them, and as they are handed on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.bookkeeping.stored_keys import added
from embermill.jobs.corpus.arrow_types import invalid_utf8_rows
from embermill.jobs.corpus.chunk_columns import ChunkColumns

TEXT, UUID = "text", "uuid"  # columns that a dataset may make of a row beside the vector
MAX_ROW_BYTES = 256 << 20  # of a row's kept columns and its id: a shard of such rows could not be written


@dataclass(frozen=True)
class RowSchema:
    """How rows of the corpus become rows of the dataset; pinned, the same for every file and shard.

    id_column: None means positional ids, PATH:POSITION. kept: (source column, name in the output, type).
    on_bad_file: what happens to a compressed file that turns out to be damaged while it is read.
    declared: columns whose type corpus.types names: a file may have them in another type, each value is taken where it fits.
    uuids: columns (id and kept) of UUIDs, stored as text with dashes; older datasets have the ids as hexadecimal digits and kept ones as bytes.
    holds_text: the text is stored, as it was embedded, in a column TEXT. derives_uuid: a column UUID holds what follows from the id (uuids.py).
    document_column, document_type: of a dataset of chunks the column with the document's id, and its type; "" where each row is a document.
    prefix: columns that are put before each chunk. holds_chunk_text: columns with the text of a chunk and what comes before it.
    html_extractor: name and version of what makes text of HTML files; "" where there were none when the dataset was begun.
    encoding: of files that are documents and say nothing of it by a byte order mark; "" is UTF-8.
    delimiter: between the fields of CSV.
    refuses_nul: a line of text or CSV with a NUL is no text; datasets begun before embed it.
    finds_front_matter: a block of YAML or TOML before a Markdown document gives its title and is no heading; CommonMark makes one of it, and older datasets.
    json_ids_as_text: of datasets begun before there were declared types: a JSON number, true or false becomes the text of an id that is a string.
    """

    id_name: str
    id_column: str | None
    id_type: pa.DataType
    text_columns: tuple[str, ...]
    text_separator: str
    kept: tuple[tuple[str, str, pa.DataType], ...]
    max_text_bytes: int
    on_schema_drift: str
    on_bad_file: str = "fail"
    declared: tuple[str, ...] = added(())
    json_ids_as_text: bool = added(True)
    uuids: tuple[str, ...] = added(())
    holds_text: bool = added(False)
    derives_uuid: bool = added(False)
    document_column: str = added("")
    document_type: str = added("")
    prefix: tuple[str, ...] = added(())
    holds_chunk_text: bool = added(False)
    encoding: str = added("")
    html_extractor: str = added("")
    delimiter: str = added(",")
    refuses_nul: bool = added(False)
    finds_front_matter: bool = added(False)

    @property
    def is_chunked(self) -> bool:
        return bool(self.document_column)

    @property
    def of_documents(self) -> RowSchema:
        """How documents are read before they are cut: the id is theirs, and the columns of a prefix come last among the kept ones."""
        if not self.is_chunked:
            return self
        kept = (*self.kept, *((column, column, pa.string()) for column in self.prefix))
        kind = pa.type_for_alias(self.document_type)
        return replace(self, id_name=self.document_column, id_type=kind, kept=kept, document_column="", document_type="", prefix=(), holds_chunk_text=False)

    @property
    def key_name(self) -> str:
        """The column of the dataset by which a row of the corpus is known again: the id, or the document's."""
        return self.document_column or self.id_name

    @property
    def key_type(self) -> pa.DataType:
        return self.of_documents.id_type

    @property
    def uuid_columns(self) -> tuple[str, ...]:
        """Columns of the dataset that hold UUIDs, in the order of its schema."""
        ids = (self.id_name,) if self.id_column in self.uuids else ()
        return (*ids, *((UUID,) if self.derives_uuid else ()), *(name for source, name, _ in self.kept if source in self.uuids))

    @property
    def columns(self) -> tuple[str, ...]:
        """The source columns that are read, each once."""
        named = [*([self.id_column] if self.id_column else []), *self.text_columns, *(source for source, _, _ in self.kept)]
        return tuple(dict.fromkeys(named))


@dataclass(frozen=True)
class Refusal:
    """Rows that cannot be embedded, on their way to the quarantine.

    row: ordinal of the (first) row within the partition. first_row: 0-based row within the file, None for lines read by byte range.
    first_byte: offset of the line in the uncompressed text, None for Parquet. reason: one of quarantine.REASONS.
    """

    row: int
    row_count: int
    id: str | None
    file: str
    first_row: int | None
    first_byte: int | None
    reason: str
    error: str
    text_bytes: int | None


@dataclass(frozen=True, eq=False)
class Origin:
    """Where consecutive rows come from: `ordinal` is the first one's within the partition.

    first_row, first_byte: [N] int64, each row's place in the file, None where it has none of that kind (see Refusal).
    """

    ordinal: int
    file: str
    first_row: np.ndarray | None
    first_byte: np.ndarray | None
    num_rows: int

    def locate(self, row: int) -> tuple[str, int | None, int | None]:
        """(file, first_row, first_byte) of one row, named by its ordinal."""
        first_row, first_byte = (None if found is None else int(found[row - self.ordinal]) for found in (self.first_row, self.first_byte))
        return self.file, first_row, first_byte

    def part(self, start: int, end: int) -> Origin:
        """Of its rows those with ordinals in [start, end)."""
        low = max(self.ordinal, start)
        high = max(low, min(self.ordinal + self.num_rows, end))
        first_row, first_byte = (None if found is None else found[low - self.ordinal : high - self.ordinal] for found in (self.first_row, self.first_byte))
        return Origin(low, self.file, first_row, first_byte, high - low)


@dataclass(frozen=True)
class RowBatch:
    """Consecutive input rows of one partition. Where documents are cut, a row is a chunk, or a document that is refused; a batch holds whole documents.

    first_row: ordinal within the partition of the first input row this batch stands for; num_rows: how many, refused ones included.
    rows: [N] int64 ordinals of the rows that are here. ids [N], texts [N] (string, joined, valid UTF-8), kept: [N] each, in the plan's order.
    num_rows == N + sum(r.row_count for r in refused). origins: of these rows at least, for the quarantine, should one be refused later.
    """

    first_row: int
    num_rows: int
    rows: np.ndarray
    ids: pa.Array
    texts: pa.Array
    kept: tuple[pa.Array, ...]
    refused: tuple[Refusal, ...] = ()
    origins: tuple[Origin, ...] = ()
    chunks: ChunkColumns | None = None

    @property
    def text_bytes(self) -> int:
        """Of the texts; of chunks, of what they cover of their documents: what two of them share counts once, a prefix not at all."""
        size = int(pc.sum(pc.binary_length(self.texts)).as_py() or 0)
        if self.chunks is None or not size:
            return size
        return size * self.chunks.covered_characters() // int(pc.sum(pc.utf8_length(self.texts)).as_py())

    def locate(self, row: int) -> tuple[str, int | None, int | None]:
        """(file, first_row, first_byte) of the row with that ordinal."""
        for origin in self.origins:
            if origin.ordinal <= row < origin.ordinal + origin.num_rows:
                return origin.locate(row)
        raise KeyError(f"row {row} is none of this batch, whose origins are {[(origin.ordinal, origin.num_rows) for origin in self.origins]}")


@dataclass(frozen=True)
class Fault:
    """Why one row cannot be embedded."""

    reason: str
    error: str
    text_bytes: int | None = None


@dataclass(frozen=True)
class RawRows:
    """Rows of one file, not yet judged. ids: [N], None where they are positional. texts: [N] each, UTF-8 unchecked; kept: [N] each, of the pinned type.

    first_row, first_byte: [N] int64, position in the file, None where it has none of that kind. faults: row of this batch -> why it is refused already.
    """

    num_rows: int
    ids: pa.Array | None
    texts: tuple[pa.Array, ...]
    kept: tuple[pa.Array, ...]
    first_row: np.ndarray | None
    first_byte: np.ndarray | None
    faults: dict[int, Fault]

    def slice(self, start: int, end: int) -> RawRows:
        """Rows [start, end) of these."""
        return replace(
            self,
            num_rows=end - start,
            ids=None if self.ids is None else self.ids.slice(start, end - start),
            texts=tuple(column.slice(start, end - start) for column in self.texts),
            kept=tuple(column.slice(start, end - start) for column in self.kept),
            first_row=None if self.first_row is None else self.first_row[start:end],
            first_byte=None if self.first_byte is None else self.first_byte[start:end],
            faults={row - start: fault for row, fault in self.faults.items() if start <= row < end},
        )

    def split(self, max_rows: int, max_bytes: int) -> Iterator[RawRows]:
        """Consecutive pieces of at most max_rows rows and max_bytes bytes of text (one row may exceed them)."""
        sizes = np.zeros(self.num_rows, np.int64)
        for column in self.texts:
            sizes += pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
        ends = np.cumsum(sizes)
        if self.num_rows <= max_rows and (not self.num_rows or ends[-1] <= max_bytes):
            yield self
            return
        start = 0
        while start < self.num_rows:
            before = int(ends[start - 1]) if start else 0
            fitting = int(np.searchsorted(ends, before + max_bytes, side="right"))
            end = max(start + 1, min(fitting, start + max_rows, self.num_rows))
            yield self.slice(start, end)
            start = end


@dataclass(frozen=True)
class RefusedRange:
    """Consecutive rows of one file that are refused together, unread."""

    row_count: int
    first_row: int | None
    first_byte: int | None
    fault: Fault


def judge(raw: RawRows, schema: RowSchema, *, path: str, name: str, ordinal: int) -> RowBatch:
    """Join the text columns and part the rows that can be embedded from those that cannot. ordinal: of the first row, within the partition."""
    ids = raw.ids if raw.ids is not None else _positional_ids(raw, name)
    texts, absent = _join(raw.texts, schema.text_separator)
    lengths = pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False)
    faults = _faults(raw, ids, absent, lengths, schema.max_text_bytes)
    rows = np.arange(ordinal, ordinal + raw.num_rows, dtype=np.int64)
    kept = raw.kept
    refused: tuple[Refusal, ...] = ()
    if faults:
        good = np.ones(raw.num_rows, bool)
        good[list(faults)] = False
        refused = tuple(_refusal(raw, ids, row, fault, path=path, ordinal=ordinal, text_bytes=int(lengths[row])) for row, fault in sorted(faults.items()))
        mask = pa.array(good)
        rows, ids, texts = rows[good], ids.filter(mask), texts.filter(mask)
        kept = tuple(column.filter(mask) for column in kept)
    origin = Origin(ordinal, path, raw.first_row, raw.first_byte, raw.num_rows)
    return RowBatch(ordinal, raw.num_rows, rows, ids, texts.cast(pa.string()), kept, refused, (origin,))


def _positional_ids(raw: RawRows, name: str) -> pa.Array:
    positions = raw.first_row if raw.first_row is not None else raw.first_byte
    return pc.binary_join_element_wise(pa.scalar(name), pa.array(positions).cast(pa.string()), ":")


def _join(columns: tuple[pa.Array, ...], separator: str) -> tuple[pa.Array, np.ndarray]:
    """Texts [N], null parts skipped; and which rows have no part at all. Wide offsets where one batch could pass 2 GiB."""
    absent = np.logical_and.reduce([pc.is_null(column).to_numpy(zero_copy_only=False) for column in columns])
    if len(columns) == 1:
        return columns[0], absent
    if any(pa.types.is_large_string(column.type) for column in columns) or sum(column.nbytes for column in columns) > 1 << 30:
        columns = tuple(column.cast(pa.large_string()) for column in columns)
    if absent.any():  # Arrow's join drops such rows from its result instead of keeping their place
        columns = (pc.if_else(pa.array(absent), pa.scalar("", columns[0].type), columns[0]), *columns[1:])
    return pc.binary_join_element_wise(*columns, pa.scalar(separator, columns[0].type), null_handling="skip"), absent


def _faults(raw: RawRows, ids: pa.Array, absent: np.ndarray, lengths: np.ndarray, max_text_bytes: int) -> dict[int, Fault]:
    """Row -> the first thing that is wrong with it."""
    faults = dict(raw.faults)
    if ids.null_count:
        for missing in np.flatnonzero(pc.is_null(ids).to_numpy(zero_copy_only=False)):
            faults.setdefault(int(missing), Fault("null_id", "the id is null or absent"))
    for empty in np.flatnonzero(absent):
        faults.setdefault(int(empty), Fault("null_text", "every text column is null or absent"))
    for column in (ids, *raw.texts, *raw.kept):
        for row, error in invalid_utf8_rows(column):
            faults.setdefault(row, Fault("invalid_utf8", error))
    for large in np.flatnonzero(lengths > max_text_bytes):
        faults.setdefault(int(large), Fault("text_too_long", f"{lengths[large]} bytes of text, more than corpus.max_text_bytes: {max_text_bytes}"))
    for row, size in _too_large((ids, *raw.kept), raw.num_rows):
        faults.setdefault(row, Fault("row_too_large", f"{size} bytes of id and kept columns, more than {MAX_ROW_BYTES}"))
    return faults


def _too_large(columns: tuple[pa.Array, ...], num_rows: int) -> Iterator[tuple[int, int]]:
    """(row, bytes) of those above MAX_ROW_BYTES; looked for only where the batch as a whole is above it."""
    if sum(column.nbytes for column in columns) <= MAX_ROW_BYTES:
        return
    for row in range(num_rows):
        size = sum(column.slice(row, 1).nbytes for column in columns)
        if size > MAX_ROW_BYTES:
            yield row, size


def _refusal(raw: RawRows, ids: pa.Array, row: int, fault: Fault, *, path: str, ordinal: int, text_bytes: int) -> Refusal:
    known = fault.text_bytes if fault.text_bytes is not None or fault.reason in ("null_text", "unparsable_line") else text_bytes
    file, first_row, first_byte = Origin(0, path, raw.first_row, raw.first_byte, raw.num_rows).locate(row)
    return Refusal(ordinal + row, 1, _id_text(ids, row), file, first_row, first_byte, fault.reason, fault.error, known)


def _id_text(ids: pa.Array, row: int) -> str | None:
    """The id as text, for the person who reads the quarantine; null where it is null or no UTF-8."""
    try:
        value: Any = ids[row].as_py()
    except UnicodeDecodeError:
        return None
    return None if value is None else str(value)
