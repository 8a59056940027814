"""What a version writes of each partition of its plan, read again."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property

import numpy as np
import pyarrow as pa

from embermill.jobs.corpus.chunk_columns import INDEX
from embermill.jobs.corpus.rows import RowBatch, RowSchema
from embermill.jobs.difference.document_cuts import CUT, StoredCuts
from embermill.jobs.difference.making import sync_folder
from embermill.jobs.difference.selecting import read_selected, select
from embermill.jobs.difference.writing import Writes, read_rows_of, read_writes
from embermill.jobs.errors import UsageError
from embermill.jobs.partition import Partition
from embermill.jobs.storage import Folder
from embermill.jobs.worker.chunk_rows import Cuts, rows_of_chunks


class SelectedRows:
    """The rows that version `version` writes of each partition of its plan. schema: the dataset's."""

    def __init__(self, dataset: Folder, version: int, schema: RowSchema) -> None:
        self._dataset, self._version, self._schema = dataset, version, schema

    @cached_property
    def writes(self) -> Writes:
        found = read_writes(self._dataset, self._version)
        if found is None:
            seen = f"the worker on {socket.gethostname()} sees no plan"
            raise UsageError(f"{self._dataset.root}: the driver has planned version {self._version} there and {seen}")
        return found

    def of(self, partition: Partition) -> pa.Table:
        return read_rows_of(self._dataset, self.writes, partition.number)

    def read(self, partition: Partition) -> Iterator[RowBatch]:
        return self.read_whole(partition)

    def read_whole(self, partition: Partition) -> Iterator[RowBatch]:
        """Rows of the corpus: of a dataset of chunks the documents, as schema.of_documents reads them."""
        return read_selected(partition, self._schema.of_documents, np.unique(self.of(partition).column("row").to_numpy()).astype(np.int64))


class SelectedDocuments(SelectedRows):
    """Of a dataset of chunks: its documents, cut as it was said; of a partition whose texts are embedded, those texts alone."""

    def read(self, partition: Partition) -> Iterator[RowBatch]:
        rows = self.of(partition)
        ordinals = rows.column("row").to_numpy().astype(np.int64)
        documents = np.unique(ordinals)
        read = read_selected(partition, self._schema.of_documents, documents)
        chunks = rows_of_chunks(read, self._schema, self._cuts(partition, documents), lambda path: False)
        if not self.writes.partitions[partition.number].embed:
            return chunks
        return texts_of(chunks, np.searchsorted(documents, ordinals), rows.column("source_row").to_numpy())

    def _cuts(self, partition: Partition, documents: np.ndarray) -> Cuts:
        part, folder = self.writes.partitions[partition.number].part, f"{sync_folder(self._version)}/{CUT}"
        name = next(name for name, _ in self._dataset.list(folder) if name.startswith(f"{folder}/part-{part:09d}-"))
        return StoredCuts(self._dataset, name, documents)


def texts_of(batches: Iterable[RowBatch], documents: np.ndarray, places: np.ndarray) -> Iterator[RowBatch]:
    """Some chunks alone, numbered anew, as rows of texts. documents, places: [N] of each chunk its document, and its place in that."""
    wanted, found = (documents.astype(np.int64) << 32) | places, 0
    for batch in batches:
        assert batch.chunks is not None, "documents are cut into chunks"
        keys = (batch.chunks.documents << 32) | batch.chunks.columns[INDEX].to_numpy()
        chosen = batch.rows[np.isin(keys, wanted)]
        if len(chosen):
            yield replace(select(batch, chosen, found), kept=(), chunks=None)
            found += len(chosen)


def selected(dataset: Folder, version: int, schema: RowSchema) -> SelectedRows:
    return (SelectedDocuments if schema.is_chunked else SelectedRows)(dataset, version, schema)
