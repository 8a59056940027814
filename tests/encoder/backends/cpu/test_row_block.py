"""The start-up probe: what it finds is really invariant, it prefers small blocks, and it says so when there is none."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embermill.encoder.backends.cpu import row_block
from embermill.encoder.backends.cpu.linear import NumpyLinear
from embermill.encoder.backends.cpu.ops import BATCH_TOKENS, NumpyOps
from embermill.encoder.backends.cpu.row_block import CANDIDATES, invariant_block
from embermill.encoder.backends.cpu.workspace import Workspace
from embermill.encoder.pipeline.batching import pack

SHAPES = [(384, 1152), (384, 384), (384, 1536), (1536, 384), (24, 24), (37, 41), (64, 3)]


@pytest.mark.usefixtures("one_blas_thread")
@pytest.mark.parametrize("shape", SHAPES)
def test_the_block_found_keeps_a_row_s_bits_at_every_place_of_that_kind(shape: tuple[int, int]) -> None:
    block = invariant_block([shape], 600)
    assert block in CANDIDATES
    random = np.random.default_rng(3)
    weight = random.standard_normal(shape, dtype=np.float32)
    row = random.standard_normal(shape[0], dtype=np.float32)
    seen = [set[bytes]() for _ in range(block)]
    for blocks in (1, 2, 4, 7, 600 // block):
        for at in {*range(block), *random.integers(0, block * blocks, 12).tolist()}:
            rows = random.standard_normal((block * blocks, shape[0]), dtype=np.float32)
            rows[at] = row
            seen[at % block].add((rows @ weight)[at].tobytes())
    assert [len(bits) for bits in seen] == [1] * block


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(SHAPES[4:]), min_size=1, max_size=3))
def test_more_weights_never_need_a_smaller_block(shapes: list[tuple[int, int]]) -> None:
    one, all_of_them = invariant_block(shapes[:1], 200), invariant_block(shapes, 200)
    assert one is not None and (all_of_them is None or all_of_them >= one)


def test_without_a_block_every_document_goes_alone(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(row_block, "_keeps_bits", lambda *_: False)
    ops = NumpyOps()
    with caplog.at_level(logging.WARNING):
        ops.linear(np.zeros((8, 8), np.float32), None)
    assert "one document at a time" in caplog.text
    offsets = np.array([0, 5, 9, 30])
    batches = list(pack(np.ones(30, np.int32), offsets, ops.max_batch_tokens, ops.row_block))
    assert [batch.num_sequences for batch in batches] == [1, 1, 1]
    assert [batch.num_rows for batch in batches] == [5, 4, 21]


def test_the_probe_is_asked_once_per_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    row_block._keeps_bits.cache_clear()
    for ops in (NumpyOps(), NumpyOps()):
        for _ in range(3):
            ops.linear(np.zeros((24, 48), np.float32), None)
    asked = row_block._keeps_bits.cache_info()
    assert asked.misses <= len(CANDIDATES) and asked.hits > 0


def test_a_block_divides_the_budget_of_a_batch() -> None:
    """Else a full batch would always leave rows unused."""
    assert all(BATCH_TOKENS % block == 0 for block in CANDIDATES)


@pytest.mark.usefixtures("one_blas_thread")
def test_both_layouts_of_a_weight_give_equal_bits_from_two_rows_up() -> None:
    """What lets every weight file give the same vectors, although the ops use each weight as it lies where the BLAS allows it."""
    random, ops = np.random.default_rng(1), NumpyOps()
    for inner, columns in ((768, 2304), (768, 768), (3072, 768), (384, 1536), (37, 41)):
        weight = random.standard_normal((inner, columns), dtype=np.float32)
        as_view, as_stored = ops.linear(weight.T, None), ops.linear(np.ascontiguousarray(weight.T), None)
        for rows in (2, 3, 5, 6, 7, 12, 24, 31, 96, 100, 384):
            x = random.standard_normal((rows, inner), dtype=np.float32)
            np.testing.assert_array_equal(as_view(x).view(np.int32), as_stored(x).view(np.int32))


def test_where_layouts_differ_a_weight_is_laid_out_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = np.random.default_rng(2).standard_normal((37, 41), dtype=np.float32)
    for agree in (True, False):
        monkeypatch.setattr("embermill.encoder.backends.cpu.linear.layouts_agree", lambda shape, agree=agree: agree)
        viewed, stored = NumpyLinear(weight.T, None, None, Workspace()), NumpyLinear(np.ascontiguousarray(weight.T), None, None, Workspace())
        assert np.shares_memory(viewed.weight, weight) == agree and np.array_equal(viewed.weight, stored.weight)
        assert (viewed.weight.strides == stored.weight.strides) == (not agree)
