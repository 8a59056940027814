"""Packed batches: documents one after another under a token budget, with no padding to a common length.

On a CPU the bits of a row's product depend on the row's place in the BLAS's block of `row_block` rows (ops/row_block.py), so a document's
first row always takes the same place in a block, and that place follows from the document's own length: one that fills less than half of its
last block starts at a block's first row (a head), any other ends at a block's last row (a tail). A head and a tail then share a block:

    |aaaaaaaaaaaa|aaaa..bbbbbb|bbbbbbbbbbbb|    head a of 16 rows, tail b of 18: the two dots are filler
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from embermill.encoder.errors import InputError

ROWS = np.arange(1 << 18, dtype=np.int32)  # numbers of the rows of any batch but the longest


class PackedBatch(NamedTuple):
    """Documents laid one after another.

    input_ids: [T] int32. position_ids: [T] int32. cu_seqlens: [B+1] int32, row at which each document starts, then T.
    lengths: [B] int32, tokens of each document. order: [B] int64, where each document stood in the caller's input.
    prompt_tokens: as many at the start of each document are left out of pooling.
    spans: [S, 2] int32, first row and end of each stretch of rows that gets a vector, all of one document; order: [S] then, where each stood in the
    caller's input. None: each document gets one.
    On a GPU lengths == diff(cu_seqlens). On a CPU a document starts at `place_in_block` of its own length, cu_seqlens[0] need not be 0, and
    the rows between documents are filler (id 0, position 0) that no attention, pooling or count sees; T is a multiple of `row_block`.
    """

    input_ids: np.ndarray
    position_ids: np.ndarray
    cu_seqlens: np.ndarray
    lengths: np.ndarray
    order: np.ndarray
    prompt_tokens: int = 0
    spans: np.ndarray | None = None

    @property
    def num_sequences(self) -> int:
        return len(self.lengths)

    @property
    def num_pooled(self) -> int:
        """Vectors that come of it."""
        return self.num_sequences if self.spans is None else len(self.spans)

    @property
    def num_rows(self) -> int:
        """T, filler included."""
        return len(self.input_ids)

    @property
    def num_tokens(self) -> int:
        return int(self.lengths.sum())

    @property
    def max_seqlen(self) -> int:
        return int(self.lengths.max(initial=0))


def place_in_block(length: int, row_block: int) -> int:
    """The row inside a block at which a document of `length` tokens starts, wherever it is packed."""
    over = length % row_block
    is_head = 2 * over < row_block or (2 * over == row_block and (length // row_block) % 2 == 0)
    return 0 if is_head else row_block - over


def pack(input_ids: np.ndarray, offsets: np.ndarray, max_batch_tokens: int, row_block: int = 1) -> Iterator[PackedBatch]:
    """Cuts a window of documents into packed batches: the longest documents first, or in their order where there are no blocks (row_block 1).

    input_ids: [N] flat token ids. offsets: [n+1], document i is input_ids[offsets[i]:offsets[i+1]]. max_batch_tokens: the most rows of one batch,
    filler included; a document longer than that has a batch of its own. row_block: the ops'; 1 leaves no filler.
    Raises InputError for a document without tokens.
    """
    lengths = np.diff(offsets)
    if len(lengths) and lengths.min() < 1:
        raise InputError(f"document {int(lengths.argmin())} of this window: expected at least one token, got none; leave empty documents out")
    if row_block == 1:
        yield from _pack_tightly(input_ids, offsets, lengths, max_batch_tokens)
        return
    batch: list[Unit] = []
    rows = 0
    for unit in _units(lengths, max_batch_tokens, row_block):
        if batch and rows + unit.rows > max_batch_tokens:
            yield _packed(batch, input_ids, offsets, lengths)
            batch, rows = [], 0
        batch.append(unit)
        rows += unit.rows
    if batch:
        yield _packed(batch, input_ids, offsets, lengths)


class Unit(NamedTuple):
    """One document, or a head and the tail that shares its last block: whole blocks. starts: the first row of each, counted from the unit's."""

    documents: tuple[int, ...]
    starts: tuple[int, ...]
    rows: int


def _units(lengths: np.ndarray, max_batch_tokens: int, row_block: int) -> list[Unit]:
    """Every document in one unit, the unit with the longest document first; as few blocks in all as pairs allow."""
    by_length = np.argsort(-lengths, kind="stable").tolist()
    heads: list[list[int]] = [[] for _ in range(row_block)]  # by the rows that a head takes of its last block
    tails: list[list[int]] = [[] for _ in range(row_block)]  # by the rows that a tail leaves free in its first one
    units: list[Unit] = []
    for document in by_length:
        length = int(lengths[document])
        over, place = length % row_block, place_in_block(length, row_block)
        if over == 0:
            units.append(Unit((document,), (0,), length))
        elif place == 0:
            heads[over].append(document)
        else:
            tails[place].append(document)
    for head, tail in _pairs(heads, tails):
        first, second = int(lengths[head]), int(lengths[tail])
        start = -(-first // row_block) * row_block - row_block + place_in_block(second, row_block)
        if start + second <= max_batch_tokens:
            units.append(Unit((head, tail), (0, start), start + second))
        else:
            heads[first % row_block].append(head)
            tails[place_in_block(second, row_block)].append(tail)
    units += [Unit((document,), (0,), -(-int(lengths[document]) // row_block) * row_block) for waiting in heads for document in waiting]
    for place, waiting in enumerate(tails):
        units += [Unit((document,), (place,), place + int(lengths[document])) for document in waiting]
    rank = np.empty(len(lengths), np.int64)
    rank[by_length] = np.arange(len(lengths))
    return sorted(units, key=lambda unit: int(rank[list(unit.documents)].min()))


def _pairs(heads: list[list[int]], tails: list[list[int]]) -> list[tuple[int, int]]:
    """As many (head, tail) as fit, taken out of both: the tail with the least room first, each with the head that fills that room best."""
    pairs = []
    for room, waiting in enumerate(tails):
        for over in range(room, 0, -1):
            while waiting and heads[over]:
                pairs.append((heads[over].pop(), waiting.pop()))
    return pairs


def _pack_tightly(input_ids: np.ndarray, offsets: np.ndarray, lengths: np.ndarray, max_batch_tokens: int) -> Iterator[PackedBatch]:
    """Where there are no blocks: in the order in which they came, ids in place. A GPU takes more than a hundred thousand documents in a second."""
    first = 0
    while first < len(lengths):
        last = max(first + 1, int(np.searchsorted(offsets, offsets[first] + max_batch_tokens, "right")) - 1)
        ids = input_ids[offsets[first] : offsets[last]].astype(np.int32, copy=False)
        cu_seqlens = (offsets[first : last + 1] - offsets[first]).astype(np.int32)
        counts = np.diff(cu_seqlens)
        yield PackedBatch(ids, _positions(cu_seqlens, counts), cu_seqlens, counts, np.arange(first, last))
        first = last


def _positions(cu_seqlens: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """[T] int32, counted from each document's own first row."""
    found = np.repeat(cu_seqlens[:-1], counts)
    rows = ROWS[: len(found)] if len(found) <= len(ROWS) else np.arange(len(found), dtype=np.int32)
    np.subtract(rows, found, out=found)
    return found


def _packed(units: list[Unit], input_ids: np.ndarray, offsets: np.ndarray, lengths: np.ndarray) -> PackedBatch:
    firsts = np.cumsum([0] + [unit.rows for unit in units])
    order = np.array([document for unit in units for document in unit.documents], np.int64)
    starts = np.array([first + start for first, unit in zip(firsts[:-1].tolist(), units, strict=True) for start in unit.starts], np.int32)
    return _laid_out(order, starts, int(firsts[-1]), input_ids, offsets, lengths)


def _laid_out(order: np.ndarray, starts: np.ndarray, num_rows: int, input_ids: np.ndarray, offsets: np.ndarray, lengths: np.ndarray) -> PackedBatch:
    """The documents `order`, each from its row of `starts` on; filler everywhere else."""
    counts = lengths[order].astype(np.int32)
    position_ids = np.arange(counts.sum(), dtype=np.int32) - np.repeat(np.cumsum(counts, dtype=np.int32) - counts, counts)
    rows = np.repeat(starts, counts) + position_ids
    packed_ids, packed_positions = np.zeros((2, num_rows), np.int32)
    packed_ids[rows] = input_ids[np.repeat(offsets[:-1][order], counts) + position_ids]
    packed_positions[rows] = position_ids
    return PackedBatch(packed_ids, packed_positions, np.append(starts, np.int32(num_rows)), counts, order)
