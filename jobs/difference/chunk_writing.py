"""Step 3, of a dataset of chunks: each text without a vector is embedded once, in partitions of texts alone; then every document that differs is written
whole, all its vectors copied. So a document lies in one shard, whatever of it was known."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from embermill.jobs.corpus.rows import RowSchema
from embermill.jobs.difference.document_cuts import REFUSED, CutDocuments
from embermill.jobs.difference.writing import COPIED_BYTES, EMBED, THIS_VERSION, Rows, WrittenPart

NOT_CUT = -3  # in place of a source: the document is refused


def schema_of_texts(rows: RowSchema) -> RowSchema:
    """rows: the dataset's. Of texts that are embedded nothing is written but id, vectors and hash."""
    return replace(
        rows, kept=(), uuids=(), holds_text=False, derives_uuid=False, document_column="", document_type="", prefix=(), holds_chunk_text=False
    )  # fmt: skip


def cut_by_documents(found: CutDocuments, settled: Rows, *, embed_bytes: int, vector_bytes: int) -> tuple[Rows, list[tuple[np.ndarray, WrittenPart]]]:
    """(rows, [(places in rows, partition)]): first the texts that are embedded, then the documents.

    settled: of found.candidates. Of a text that is embedded `source_row` is its place in the document; embed_bytes: of text in a partition. vector_bytes: of
    a row's vectors.
    """
    good = np.flatnonzero(found.index != REFUSED)
    source, source_row = np.full(len(found.row), NOT_CUT, np.int32), np.zeros(len(found.row), np.int32)
    source[good], source_row[good] = settled.source, settled.source_row
    texts = np.flatnonzero(source == EMBED)
    begins = np.ones(len(found.row), bool)
    begins[1:] = (found.part[1:] != found.part[:-1]) | (found.row[1:] != found.row[:-1])
    many = np.arange(len(found.row))
    whole = np.where(source == EMBED, THIS_VERSION, source)
    rows = Rows(
        np.concatenate([found.part[texts], found.part]),
        np.concatenate([found.row[texts], found.row]),
        np.concatenate([source[texts], whole]),
        np.concatenate([found.index[texts], source_row]),
        settled.sources,
    )
    made = list[tuple[np.ndarray, WrittenPart]]()
    for first, end in _pieces(found.part[texts], found.text_bytes[texts], np.ones(len(texts), bool), embed_bytes):
        made.append((np.arange(first, end), _part(found, texts[first:end], True)))
    for first, end in _pieces(found.part, np.full(len(many), vector_bytes), begins, COPIED_BYTES):
        made.append((len(texts) + np.arange(first, end), _part(found, many[first:end], False)))
    return rows, made


def _pieces(part: np.ndarray, sizes: np.ndarray, may_begin: np.ndarray, limit: int) -> Iterator[tuple[int, int]]:
    """[first, end) of consecutive rows of one scanned partition, of about so many bytes. may_begin: [N] bool, rows at which a piece may."""
    if not len(part):
        return
    starts = np.flatnonzero(may_begin)
    before = np.cumsum(sizes, dtype=np.int64) - sizes
    group = before[starts] // max(1, limit)
    new = np.ones(len(starts), bool)
    new[1:] = (part[starts[1:]] != part[starts[:-1]]) | (group[1:] != group[:-1])
    borders = [*starts[new].tolist(), len(part)]
    yield from itertools.pairwise(borders)


def _part(found: CutDocuments, at: np.ndarray, embed: bool) -> WrittenPart:
    first, last = int(found.row[at[0]]), int(found.row[at[-1]])
    return WrittenPart(int(found.part[at[0]]), first, last, len(at), int(found.text_bytes[at].sum(dtype=np.int64)), embed)
