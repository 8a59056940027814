"""`model.on_long_text: split`: documents on their way from the reader -> rows that are chunks. What a shard and a batch hold follows from these rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Protocol

import numpy as np
import pyarrow as pa

from embermill.jobs.chunking.cutter import Cut, Document
from embermill.jobs.chunking.ids import chunk_ids
from embermill.jobs.chunking.late import given_text
from embermill.jobs.config import JobConfig
from embermill.jobs.corpus.chunk_columns import COUNT, DOCUMENT_HASH, END, INDEX, PREFIX, START, ChunkColumns
from embermill.jobs.corpus.rows import TEXT, Origin, Refusal, RowBatch, RowSchema
from embermill.jobs.corpus.to_cut import IsMarkdown, documents_to_cut, markdown_test
from embermill.jobs.engine.cutter import make_cutter
from embermill.jobs.engine.loading import preview_engine
from embermill.jobs.partition import Partition
from embermill.jobs.shard.text_hash import hash_documents, hash_texts
from embermill.jobs.worker.cut_processes import CutProcesses


class Cuts(Protocol):
    """A Cutter, or what one has said before."""

    def cut(self, documents: Sequence[Document]) -> list[Cut]: ...


def rows_of_chunks(batches: Iterable[RowBatch], schema: RowSchema, cutter: Cuts, of_markdown: IsMarkdown) -> Iterator[RowBatch]:
    """batches: of documents, as schema.of_documents reads them. Ordinals count chunks and refused documents; each batch holds whole documents."""
    first_row = document = 0
    for batch in batches:
        made = _cut_batch(batch, schema, cutter, of_markdown, first_row, document)
        yield made
        first_row, document = first_row + made.num_rows, document + batch.num_rows


def reader_of_chunks(
    config: JobConfig,
    device: str,
    schema: RowSchema,
    read: Callable[[Partition], Iterator[RowBatch]],
    search_path: Sequence[str] = (),
    processes: CutProcesses | None = None,
) -> Callable[[Partition], Iterator[RowBatch]]:
    """read: of documents, as schema.of_documents has them; it is given back where each document is a row. UsageError where the engine cannot be cut for.

    processes: that cut; None where the thread that reads does.
    """
    if not schema.is_chunked:
        return read
    if processes is not None:
        return lambda partition: processes.rows(read(partition), schema)
    cutter = make_cutter(config, preview_engine(config.model, device, search_path=search_path), search_path=search_path)
    of_markdown = markdown_test(config.chunk.rules)
    return lambda partition: rows_of_chunks(read(partition), schema, cutter, of_markdown)


def open_cutting(config: JobConfig, device: str, search_path: Sequence[str]) -> Callable[[RowSchema, RowBatch], RowBatch]:
    """For a process beside a worker: batches by themselves, as if no row came before them. UsageError where the engine cannot be cut for."""
    cutter = make_cutter(config, preview_engine(config.model, device, search_path=search_path), search_path=search_path)
    of_markdown = markdown_test(config.chunk.rules)
    return lambda schema, batch: _cut_batch(batch, schema, cutter, of_markdown, 0, 0)


def _cut_batch(batch: RowBatch, schema: RowSchema, cutter: Cuts, of_markdown: IsMarkdown, first_row: int, document: int) -> RowBatch:
    documents = documents_to_cut(batch, schema, of_markdown)
    texts, cuts = [document.text for document in documents], cutter.cut(documents)
    refused = [*batch.refused, *(_refusal(batch, place, cut) for place, cut in enumerate(cuts) if cut.refused)]
    counts = np.zeros(batch.num_rows, np.int64)  # rows that each input row becomes
    counts[batch.rows - batch.first_row] = [len(cut.chunks) or 1 for cut in cuts]
    for refusal in batch.refused:
        counts[refusal.row - batch.first_row : refusal.row - batch.first_row + refusal.row_count] = 1
    ordinals = first_row + np.concatenate([[0], np.cumsum(counts)])
    good = np.array([len(cut.chunks) for cut in cuts], np.int64)
    parents = np.repeat(np.arange(len(texts)), good)
    rows = np.concatenate([np.arange(start, start + size) for start, size in zip(ordinals[batch.rows - batch.first_row], good, strict=True)] or [np.empty(0)])
    moved = tuple(replace(refusal, row=int(ordinals[refusal.row - batch.first_row])) for refusal in sorted(refused, key=lambda refusal: refusal.row))
    origins = tuple(_moved(origin, batch.first_row, counts, ordinals) for origin in batch.origins)
    of_chunks = _columns(batch, schema, texts, cuts, parents)
    given = [given_text(text, chunk) for text, cut in zip(texts, cuts, strict=True) for chunk in cut.chunks]
    hashes = hash_texts(pa.array(given, pa.string()))
    names = batch.ids.cast(pa.string()).take(pa.array(parents)).to_pylist()
    dropped = np.array([chunk.prefix.dropped for cut in cuts for chunk in cut.chunks], np.int32)
    unknown = np.array([cut.unknown_words * (place == 0) for cut in cuts for place in range(len(cut.chunks))], np.int32)
    return RowBatch(
        first_row=first_row,
        num_rows=int(counts.sum()),
        rows=rows.astype(np.int64),
        ids=pa.array(chunk_ids(parents.tolist(), names, hashes.to_pylist()), pa.string()),
        texts=pa.array(given, pa.string()),
        kept=tuple(column.take(pa.array(parents)) for column in batch.kept[: len(schema.kept)]),
        refused=moved,
        origins=origins,
        chunks=ChunkColumns(document + batch.rows[parents] - batch.first_row, of_chunks, dropped, unknown),
    )


def _columns(batch: RowBatch, schema: RowSchema, texts: Sequence[str], cuts: Sequence[Cut], parents: np.ndarray) -> dict[str, pa.Array]:
    """The document's id comes first."""
    chosen, chunks = pa.array(parents), [*chain.from_iterable(cut.chunks for cut in cuts)]
    counts = np.array([len(cut.chunks) for cut in cuts], np.int32)
    columns = {
        schema.document_column: batch.ids.take(chosen),
        INDEX: pa.array([*chain.from_iterable(range(size) for size in counts)], pa.int32()),
        COUNT: pa.array(counts[parents]),
        START: pa.array([chunk.start for chunk in chunks], pa.int64()),
        END: pa.array([chunk.end for chunk in chunks], pa.int64()),
        DOCUMENT_HASH: hash_documents(batch, schema).take(chosen),
    }
    if schema.holds_chunk_text:
        columns[TEXT] = pa.array([text[chunk.start : chunk.end] for text, cut in zip(texts, cuts, strict=True) for chunk in cut.chunks], pa.string())
        columns[PREFIX] = pa.array([chunk.prefix.text for chunk in chunks], pa.string())
    return columns


def _refusal(batch: RowBatch, place: int, cut: Cut) -> Refusal:
    row = int(batch.rows[place])
    file, first_row, first_byte = batch.locate(row)
    return Refusal(row, 1, str(batch.ids[place].as_py()), file, first_row, first_byte, "not_cut", cut.refused, len(batch.texts[place].as_py().encode()))


def _moved(origin: Origin, first: int, counts: np.ndarray, ordinals: np.ndarray) -> Origin:
    """The origin of the rows that documents became: each row has its document's place in the file."""
    here = origin.part(first, first + len(counts))
    sizes = counts[here.ordinal - first :][: here.num_rows]
    first_row, first_byte = (None if found is None else np.repeat(found, sizes) for found in (here.first_row, here.first_byte))
    return Origin(int(ordinals[here.ordinal - first]), origin.file, first_row, first_byte, int(sizes.sum()))


