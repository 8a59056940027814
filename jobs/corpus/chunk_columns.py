"""What rows have beside id, text and kept columns where they are chunks of documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

INDEX, COUNT, START, END, DOCUMENT_HASH, PREFIX = "chunk_index", "chunk_count", "start_char", "end_char", "document_hash", "prefix"
TYPES = {INDEX: pa.int32(), COUNT: pa.int32(), START: pa.int64(), END: pa.int64(), DOCUMENT_HASH: pa.string()}


@dataclass(frozen=True)
class ChunkColumns:
    """What rows that are chunks have beside id, text and kept columns.

    documents: [N] int64, ascending, equal for chunks of one document: its place in the partition. columns: of the dataset, [N] each.
    dropped: [N] int32, tokens of a prefix that did not fit. unknown_words: [N] int32, of a whole document, at its first chunk (chunking.cutter.Cut).
    """

    documents: np.ndarray
    columns: dict[str, pa.Array]
    dropped: np.ndarray
    unknown_words: np.ndarray

    def take(self, rows: slice | np.ndarray) -> ChunkColumns:
        chosen = pa.array(np.arange(len(self.documents))[rows])
        columns = {name: column.take(chosen) for name, column in self.columns.items()}
        return ChunkColumns(self.documents[rows], columns, self.dropped[rows], self.unknown_words[rows])

    def covered_characters(self) -> int:
        """Of the documents, how many lie in at least one of these chunks, which follow one another in each."""
        start, end = (self.columns[name].to_numpy() for name in (START, END))
        before = np.where(self.documents[1:] == self.documents[:-1], end[:-1], 0)
        return int((end - np.maximum(start, np.concatenate([[0], before])[: len(start)])).clip(0).sum())

    def border(self, row: int, *, up: bool) -> int:
        """The nearest row at or before (up: after) this one at which a document begins, or none is left."""
        if not 0 < row < len(self.documents) or self.documents[row] != self.documents[row - 1]:
            return row
        return int(np.searchsorted(self.documents, self.documents[row], side="right" if up else "left"))


def join_chunks(parts: Sequence[ChunkColumns]) -> ChunkColumns:
    names = parts[0].columns
    columns = {name: pa.concat_arrays([part.columns[name] for part in parts]) for name in names}
    documents, dropped, unknown = (np.concatenate([getattr(part, name) for part in parts]) for name in ("documents", "dropped", "unknown_words"))
    return ChunkColumns(documents, columns, dropped, unknown)
