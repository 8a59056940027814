"""pack(): every document exactly once, in the place of a block that its own length gives, under the budget; gaps are only filler."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embermill.encoder.errors import InputError
from embermill.encoder.pipeline.batching import PackedBatch, pack, place_in_block

LENGTHS = st.lists(st.integers(1, 90), max_size=60)
BLOCKS = st.sampled_from([1, 2, 4, 6, 8, 12, 16, 24])


def window(lengths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Flat ids, all different and none of them 0, and offsets."""
    offsets = np.cumsum([0, *lengths]).astype(np.int64)
    return np.arange(1, offsets[-1] + 1, dtype=np.int32), offsets


def packed(lengths: list[int], budget: int, row_block: int) -> list[PackedBatch]:
    return list(pack(*window(lengths), budget, row_block))


@given(LENGTHS, st.integers(1, 300), BLOCKS)
def test_every_document_exactly_once_with_its_own_tokens(lengths: list[int], budget: int, row_block: int) -> None:
    ids, offsets = window(lengths)
    seen: list[int] = []
    for batch in pack(ids, offsets, budget, row_block):
        for start, length, document in zip(batch.cu_seqlens, batch.lengths, batch.order, strict=False):
            rows = slice(start, start + length)
            assert batch.input_ids[rows].tolist() == ids[offsets[document] : offsets[document + 1]].tolist()
            assert batch.position_ids[rows].tolist() == list(range(length))
            seen.append(int(document))
    assert sorted(seen) == list(range(len(lengths)))


@given(LENGTHS, st.integers(1, 300), BLOCKS)
def test_the_place_in_a_block_follows_from_the_length_alone(lengths: list[int], budget: int, row_block: int) -> None:
    for batch in packed(lengths, budget, row_block):
        assert batch.num_rows % row_block == 0
        for start, length in zip(batch.cu_seqlens, batch.lengths, strict=False):
            assert start % row_block == place_in_block(int(length), row_block)


@given(LENGTHS, st.integers(1, 300), BLOCKS)
def test_rows_between_documents_are_filler(lengths: list[int], budget: int, row_block: int) -> None:
    for batch in packed(lengths, budget, row_block):
        ends = batch.cu_seqlens[:-1] + batch.lengths
        assert (ends <= batch.cu_seqlens[1:]).all()
        filler = np.ones(batch.num_rows, bool)
        for start, end in zip(batch.cu_seqlens, ends, strict=False):
            filler[start:end] = False
        assert not batch.input_ids[filler].any() and not batch.position_ids[filler].any()
        assert batch.input_ids[~filler].all()
        assert filler.sum() == batch.num_rows - batch.num_tokens


@given(LENGTHS, st.integers(1, 300), BLOCKS)
def test_the_budget_is_kept_and_a_longer_document_goes_alone(lengths: list[int], budget: int, row_block: int) -> None:
    for batch in packed(lengths, budget, row_block):
        assert batch.num_rows <= budget or batch.num_sequences == 1


@given(LENGTHS, st.integers(1, 300))
def test_without_a_block_there_is_no_filler(lengths: list[int], budget: int) -> None:
    for batch in packed(lengths, budget, 1):
        assert batch.cu_seqlens[0] == 0
        assert (np.diff(batch.cu_seqlens) == batch.lengths).all()


@given(LENGTHS, st.integers(1, 300))
def test_without_a_block_documents_stay_in_order_as_many_as_fit(lengths: list[int], budget: int) -> None:
    batches = packed(lengths, budget, 1)
    assert [document for batch in batches for document in batch.order.tolist()] == list(range(len(lengths)))
    for batch, following in pairwise(batches):
        assert batch.num_rows + following.lengths[0] > budget


@given(LENGTHS, st.integers(1, 300), BLOCKS.filter(lambda rows: rows > 1))
def test_the_longest_document_comes_first(lengths: list[int], budget: int, row_block: int) -> None:
    longest = [batch.max_seqlen for batch in packed(lengths, budget, row_block)]
    assert longest == sorted(longest, reverse=True)


@given(LENGTHS, BLOCKS)
def test_a_pair_is_never_worse_than_two_aligned_documents(lengths: list[int], row_block: int) -> None:
    rows = sum(batch.num_rows for batch in packed(lengths, 10**6, row_block))
    assert sum(lengths) <= rows <= sum(-(-length // row_block) * row_block for length in lengths)


def test_heads_and_tails_leave_little_filler() -> None:
    lengths = np.random.default_rng(0).integers(2, 120, 1000).tolist()
    rows = sum(batch.num_rows for batch in packed(lengths, 1536, 12))
    assert rows < 1.02 * sum(lengths)


def test_all_arrays_have_the_promised_types() -> None:
    (batch,) = packed([5, 17, 12], 100, 12)
    assert [a.dtype.name for a in (batch.input_ids, batch.position_ids, batch.cu_seqlens, batch.lengths, batch.order)] == ["int32"] * 4 + ["int64"]


def test_a_document_without_tokens_is_refused() -> None:
    with pytest.raises(InputError, match="document 1 of this window"):
        packed([3, 0, 2], 100, 12)


def test_no_documents_no_batches() -> None:
    assert packed([], 100, 12) == []
