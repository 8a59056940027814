"""A packed batch on a GPU: one block of int32 that goes up in one copy, and the list of attention tiles made of it.

What kernels need to know of a batch's size lies in it as well (`counts`), so that a captured graph serves every batch that fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from embermill.encoder.pipeline.batching import PackedBatch

DeviceArray = Any  # cupy.ndarray

COUNTS = 4  # numbers of a batch that lie beside it: documents, attention tiles, tokens of the prompt that pooling leaves out, vectors


@dataclass(frozen=True)
class BatchRoom:
    """How much a block can hold. rows: T. sequences: the most documents. tiles: the most attention tiles. spans: as many as the batch has, or 0."""

    rows: int
    sequences: int
    tiles: int
    spans: int = 0

    @staticmethod
    def of(batch: PackedBatch, num_tiles: int) -> BatchRoom:
        """Just enough."""
        return BatchRoom(batch.num_rows, batch.num_sequences, num_tiles, 0 if batch.spans is None else len(batch.spans))

    @property
    def vectors(self) -> int:
        """The most that come of a batch."""
        return self.spans or self.sequences

    @property
    def size(self) -> int:
        """int32 values in a block: tiles first (their 16 bytes are read at once), then ids, positions, cu_seqlens, counts, spans."""
        return 4 * self.tiles + 2 * self.rows + self.sequences + 1 + COUNTS + 2 * self.spans

    def holds(self, batch: PackedBatch, num_tiles: int) -> bool:
        return batch.num_rows <= self.rows and batch.num_sequences <= self.sequences and num_tiles <= self.tiles

    def split(self, block: Any) -> tuple[Any, Any, Any, Any, Any]:
        """tiles [n, 4], input_ids [T], position_ids [T], cu_seqlens [B+1], counts [4] of a block on the host or on the GPU."""
        sizes = (4 * self.tiles, self.rows, self.rows, self.sequences + 1, COUNTS)
        tiles, input_ids, position_ids, cu_seqlens, counts = (block[end - size : end] for end, size in zip(accumulate(sizes), sizes, strict=True))
        return tiles.reshape(-1, 4), input_ids, position_ids, cu_seqlens, counts

    def spans_in(self, block: Any) -> Any:
        """[S, 2], or None."""
        return block[self.size - 2 * self.spans : self.size].reshape(-1, 2) if self.spans else None

    def fill(self, block: np.ndarray, batch: PackedBatch, tiles: np.ndarray) -> None:
        """Rows past the batch's own get id 0 and position 0: they are computed, finite, and belong to no document."""
        to_tiles, input_ids, position_ids, cu_seqlens, counts = self.split(block)
        to_tiles[: len(tiles)] = tiles
        for to, values in ((input_ids, batch.input_ids), (position_ids, batch.position_ids)):
            to[: batch.num_rows] = values
            to[batch.num_rows :] = 0
        cu_seqlens[: batch.num_sequences + 1] = batch.cu_seqlens
        counts[:] = batch.num_sequences, len(tiles), batch.prompt_tokens, batch.num_pooled
        if self.spans:
            self.spans_in(block)[:] = batch.spans


@dataclass(frozen=True)
class GpuBatch:
    """DeviceBatch of the GPU backends. All arrays are int32 on the GPU; num_sequences, num_tiles, prompt_tokens and num_pooled hold one number each."""

    room: BatchRoom
    block: DeviceArray
    tiles: DeviceArray
    input_ids: DeviceArray
    position_ids: DeviceArray
    cu_seqlens: DeviceArray
    num_sequences: DeviceArray
    num_tiles: DeviceArray
    prompt_tokens: DeviceArray
    num_pooled: DeviceArray
    spans: DeviceArray | None

    @staticmethod
    def on(block: DeviceArray, room: BatchRoom) -> GpuBatch:
        tiles, input_ids, position_ids, cu_seqlens, counts = room.split(block)
        sequences, num_tiles, prompt_tokens, pooled = (counts[i : i + 1] for i in range(COUNTS))
        spans = room.spans_in(block)
        return GpuBatch(room, block, tiles, input_ids, position_ids, cu_seqlens, sequences, num_tiles, prompt_tokens, pooled, spans)


@dataclass(frozen=True)
class Pooled:
    """[B, N] float32 on the GPU. `rows`: B, also on the GPU ([1] int32), since a captured graph is made before it is known."""

    array: DeviceArray
    rows: DeviceArray


def attention_tiles(batch: PackedBatch, tile_rows: int) -> np.ndarray:
    """[n, 4] int32: (first row of the document, its length, first query row inside it, 0), the longest documents first so that blocks end together."""
    lengths = batch.lengths.astype(np.int32, copy=False)
    order = np.argsort(-lengths, kind="stable")
    per_document = -(-lengths[order] // tile_rows)
    document = np.repeat(order, per_document)
    index = np.arange(len(document), dtype=np.int32) - np.repeat(np.cumsum(per_document, dtype=np.int32) - per_document, per_document)
    tiles = np.zeros((len(document), 4), np.int32)
    tiles[:, 0], tiles[:, 1], tiles[:, 2] = batch.cu_seqlens[:-1][document], lengths[document], index * tile_rows
    return tiles
