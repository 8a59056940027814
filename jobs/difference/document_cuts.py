"""Step 2b, of a dataset of chunks: the documents that are to be written are cut, once. All that follows goes by these cuts.

    _embermill/sync/000002/documents.pq      a row group for each scanned partition: ordinals of its documents that are to be written
    _embermill/sync/000002/cut/part-*.pq     CUTS_SCHEMA, of one scanned partition, in row order
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embermill.jobs.chunking.cutter import Chunk, Cut, Document, Window
from embermill.jobs.chunking.late import given_text
from embermill.jobs.chunking.prefix import Prefix
from embermill.jobs.difference.known_texts import as_digests
from embermill.jobs.difference.making import sync_folder
from embermill.jobs.difference.receipts import step_receipt
from embermill.jobs.difference.scan import open_step_writer
from embermill.jobs.difference.writing import Candidates
from embermill.jobs.partition import Partition
from embermill.jobs.receipt import Receipt
from embermill.jobs.shard.contents import Damaged, open_parquet
from embermill.jobs.shard.text_hash import DIGEST_BYTES, digest_each
from embermill.jobs.storage import AlreadyExists, Folder

CUT = "cut"
REFUSED = -1  # the place of a document that cannot be cut, which has one row here
CUTS_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.int32(), nullable=False) for name in ("row", "index")),  # the document's ordinal, the chunk's place in it
        *(pa.field(name, pa.int64(), nullable=False) for name in ("start", "end")),
        pa.field("prefix", pa.string(), nullable=False),
        *(pa.field(name, pa.int32(), nullable=False) for name in ("dropped", "unknown_words")),  # the latter of the whole document
        pa.field("refused", pa.string(), nullable=False),
        pa.field("text_hash", pa.binary(DIGEST_BYTES), nullable=False),
        pa.field("text_bytes", pa.int32(), nullable=False),
        *(pa.field(name, pa.int64(), nullable=False) for name in ("window_start", "window_end", "span_start", "span_end")),  # -1 where there is no window
    ]
)


def cut_name(version: int, partition: Partition) -> str:
    return f"{sync_folder(version)}/{CUT}/part-{partition.number:09d}-{partition.id[:8]}.pq"


def create_documents(folder: Folder, version: int, found: Candidates, parts: int) -> None:
    """Say which documents of each scanned partition are to be cut. found: in corpus order. Whoever was first has said the same."""
    ends = np.searchsorted(found.part, np.arange(parts + 1))
    sink, schema = io.BytesIO(), pa.schema([pa.field("row", pa.int32(), nullable=False)])
    with pq.ParquetWriter(sink, schema, version="2.6", compression="zstd", compression_level=1, write_page_checksum=True) as writer:
        for first, end in pairwise(ends):
            rows = found.row[first:end]
            writer.write_table(pa.table([pa.array(rows, pa.int32())], schema=schema), row_group_size=max(1, len(rows)))
    with contextlib.suppress(AlreadyExists):
        folder.create(_documents_name(version), sink.getvalue())


def read_documents(folder: Folder, version: int, part: int) -> np.ndarray:
    """[N] int64, ascending."""
    with folder.open(_documents_name(version)) as file, open_parquet(file) as parquet:
        return np.asarray(parquet.read_row_group(part, use_threads=False).column(0).to_numpy(), np.int64)


def _documents_name(version: int) -> str:
    return f"{sync_folder(version)}/documents.pq"


def publish_cuts(folder: Folder, version: int, partition: Partition, found: Iterable[tuple[Sequence[Document], Sequence[Cut]]], rows: np.ndarray) -> Receipt:
    """found: the documents of these ordinals, in batches, and how each is cut. What stands there already is ours, or a twin's."""
    name, done, written = cut_name(version, partition), 0, 0
    path = folder.temporary(name)
    try:
        with open_step_writer(path, CUTS_SCHEMA) as writer:
            for documents, cuts in found:
                table = _table(documents, cuts, rows[done : done + len(documents)])
                writer.write_table(table)
                done, written = done + len(documents), written + table.num_rows
        with contextlib.suppress(AlreadyExists):
            folder.publish(path, name)
    finally:
        path.unlink(missing_ok=True)
    return step_receipt(partition, name, rows_in=written)


def _table(documents: Sequence[Document], cuts: Sequence[Cut], rows: np.ndarray) -> pa.Table:
    chunks = [(row, place, chunk) for row, cut in zip(rows.tolist(), cuts, strict=True) for place, chunk in enumerate(cut.chunks or (_NO_CHUNK,))]
    why = [cut.refused for cut in cuts for _ in cut.chunks or (_NO_CHUNK,)]
    texts = [document.text for document, cut in zip(documents, cuts, strict=True) for _ in cut.chunks or (_NO_CHUNK,)]
    given = [given_text(text, chunk) for text, (_, _, chunk) in zip(texts, chunks, strict=True)]
    digests = pa.Array.from_buffers(pa.binary(DIGEST_BYTES), len(given), [None, pa.py_buffer(bytes(digest_each(pa.array(given, pa.string()))))])
    columns = [
        pa.array([row for row, _, _ in chunks], pa.int32()),
        pa.array([REFUSED if refused else place for refused, (_, place, _) in zip(why, chunks, strict=True)], pa.int32()),
        pa.array([chunk.start for _, _, chunk in chunks], pa.int64()),
        pa.array([chunk.end for _, _, chunk in chunks], pa.int64()),
        pa.array([chunk.prefix.text for _, _, chunk in chunks], pa.string()),
        pa.array([chunk.prefix.dropped for _, _, chunk in chunks], pa.int32()),
        pa.array([cut.unknown_words for cut in cuts for _ in cut.chunks or (_NO_CHUNK,)], pa.int32()),
        pa.array(why, pa.string()),
        digests,
        pa.array([len(text.encode()) for text in given], pa.int32()),
        *(pa.array(numbers, pa.int64()) for numbers in np.array([_window(chunk) for _, _, chunk in chunks], np.int64).reshape(-1, 4).T),
    ]
    return pa.Table.from_arrays(columns, schema=CUTS_SCHEMA)


def _window(chunk: Chunk) -> tuple[int, int, int, int]:
    window = chunk.window
    return (-1, -1, -1, -1) if window is None else (window.start, window.end, window.span_start, window.span_end)


_NO_CHUNK = Chunk(0, 0)


class StoredCuts:
    """A Cutter that says what was said before, of these documents in their order."""

    def __init__(self, folder: Folder, name: str, rows: np.ndarray) -> None:
        """rows: ordinals, ascending. Damaged where one was not cut."""
        with folder.open(name) as file, open_parquet(file) as parquet:
            table = parquet.read(use_threads=False)
        of = table.column("row").to_numpy()
        first, end = np.searchsorted(of, rows), np.searchsorted(of, rows, side="right")
        if (first == end).any():
            raise Damaged(f"{name}: it does not say how the document of row {int(rows[np.argmax(first == end)])} is cut")
        self._table, self._places, self._next = table, [*zip(first.tolist(), end.tolist(), strict=True)], 0

    def cut(self, documents: Sequence[Document]) -> list[Cut]:
        found = self._places[self._next : self._next + len(documents)]
        self._next += len(documents)
        return [self._cut(first, end) for first, end in found]

    def _cut(self, first: int, end: int) -> Cut:
        rows = self._table.slice(first, end - first).to_pylist()
        if rows[0]["index"] == REFUSED:
            return Cut((), 0, rows[0]["refused"])
        chunks = (Chunk(row["start"], row["end"], Prefix(row["prefix"], 0, row["dropped"]), _window_in(row)) for row in rows)
        return Cut(tuple(chunks), rows[0]["unknown_words"])


def _window_in(row: dict[str, Any]) -> Window | None:
    """row: of a file that may be older than windows are."""
    if row.get("window_start", -1) < 0:
        return None
    return Window(row["window_start"], row["window_end"], row["span_start"], row["span_end"])


@dataclass(frozen=True)
class CutDocuments:
    """Chunks of all documents that are to be written, in corpus order; a refused document has one row. part, row: of the document. digests: [N, 2]."""

    part: np.ndarray
    row: np.ndarray
    index: np.ndarray
    digests: np.ndarray
    text_bytes: np.ndarray

    @property
    def candidates(self) -> Candidates:
        """Of the chunks: each is looked for by its text alone, wherever it stands."""
        good = self.index != REFUSED
        nothing = np.full(int(good.sum()), -1, np.int32)
        return Candidates(self.part[good], self.row[good], self.digests[good], np.zeros(len(nothing), bool), nothing, nothing)


def read_cuts(folder: Folder, names: Sequence[tuple[int, str]]) -> CutDocuments:
    """names: (number of the scanned partition, file). Memory: 36 bytes a chunk."""
    columns = ("row", "index", "text_bytes")
    numbers: dict[str, list[np.ndarray]] = {name: [np.empty(0, np.int32)] for name in ("part", *columns)}
    digests = [np.empty((0, 2), np.uint64)]
    for part, name in names:
        with folder.open(name) as file, open_parquet(file) as parquet:
            table = parquet.read([*columns, "text_hash"], use_threads=False)
        for column in columns:
            numbers[column].append(table.column(column).to_numpy())
        numbers["part"].append(np.full(table.num_rows, part, np.int32))
        digests.append(as_digests(table.column("text_hash")))
    joined = {name: np.concatenate(found) for name, found in numbers.items()}
    return CutDocuments(joined["part"], joined["row"], joined["index"], np.concatenate(digests), joined["text_bytes"])
