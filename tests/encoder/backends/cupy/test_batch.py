"""The block that goes up to a GPU, and the attention tiles in it; no GPU is needed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embermill.encoder.backends.cupy.batch import BatchRoom, attention_tiles
from embermill.encoder.pipeline.batching import pack

LENGTHS = st.lists(st.integers(1, 700), min_size=1, max_size=40)


def packed(lengths: list[int]):  # type: ignore[no-untyped-def]
    (batch,) = pack(np.arange(sum(lengths), dtype=np.int32), np.cumsum([0, *lengths]), 10**6)
    return batch


@given(LENGTHS, st.sampled_from([16, 128]))
def test_tiles_cover_every_row_once_and_the_longest_come_first(lengths: list[int], tile_rows: int) -> None:
    batch = packed(lengths)
    tiles = attention_tiles(batch, tile_rows)
    covered = np.zeros(batch.num_rows, int)
    for first, length, query, unused in tiles:
        assert unused == 0 and query % tile_rows == 0
        covered[first + query : first + min(query + tile_rows, length)] += 1
    assert (covered == 1).all()
    assert (np.diff(tiles[:, 1]) <= 0).all()
    ends = batch.cu_seqlens.tolist()
    assert {(first, first + length) for first, length, _, _ in tiles.tolist()} == set(pairwise(ends))


@given(LENGTHS, st.integers(0, 300), st.integers(0, 50))
def test_a_block_holds_the_batch_and_filler(lengths: list[int], spare_rows: int, spare: int) -> None:
    batch = packed(lengths)._replace(prompt_tokens=3)
    tiles = attention_tiles(batch, 128)
    room = BatchRoom(batch.num_rows + spare_rows, batch.num_sequences + spare, len(tiles) + spare)
    assert room.holds(batch, len(tiles))
    block = np.full(room.size, -7, np.int32)
    room.fill(block, batch, tiles)
    to_tiles, input_ids, position_ids, cu_seqlens, counts = room.split(block)
    assert (to_tiles[: len(tiles)] == tiles).all()
    assert (input_ids[: batch.num_rows] == batch.input_ids).all() and not input_ids[batch.num_rows :].any()
    assert (position_ids[: batch.num_rows] == batch.position_ids).all() and not position_ids[batch.num_rows :].any()
    assert (cu_seqlens[: batch.num_sequences + 1] == batch.cu_seqlens).all()
    assert counts.tolist() == [batch.num_sequences, len(tiles), 3, batch.num_sequences]
    assert room.spans_in(block) is None


@given(LENGTHS, st.integers(0, 50))
def test_a_block_holds_the_spans(lengths: list[int], more: int) -> None:
    plain = packed(lengths)
    batch = plain._replace(spans=np.arange(2 * (len(lengths) + more), dtype=np.int32).reshape(-1, 2))
    tiles = attention_tiles(batch, 128)
    room = BatchRoom.of(batch, len(tiles))
    block = np.full(room.size, -7, np.int32)
    room.fill(block, batch, tiles)
    assert batch.spans is not None and room.spans_in(block).tolist() == batch.spans.tolist() and -7 not in block.tolist()
    counts = room.split(block)[-1]
    assert counts[3] == room.vectors == len(lengths) + more
    assert BatchRoom.of(plain, len(tiles)).vectors == len(lengths)


@pytest.mark.parametrize("missing", ["rows", "sequences", "tiles"])
def test_what_does_not_fit_is_not_held(missing: str) -> None:
    batch = packed([5, 300, 20])
    sizes = {"rows": batch.num_rows, "sequences": 3, "tiles": 5}
    assert BatchRoom(**sizes).holds(batch, 5)
    assert not BatchRoom(**sizes | {missing: sizes[missing] - 1}).holds(batch, 5)
