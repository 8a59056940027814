"""Batches follow the memory that is free: before the first, and when it runs out in mid-run. The GPU is a stand-in with so many bytes."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embermill.encoder.backends.cupy.memory import RESERVE_BYTES, SMALLEST_ROWS, is_out_of_memory, refusing, rows_that_fit
from embermill.encoder.backends.cupy.shrinking import ShrinkingProgram, split
from embermill.encoder.errors import DeviceError
from embermill.encoder.pipeline.batching import PackedBatch, pack

GB = 1 << 30
BERT_LARGE_ROW, MINILM_ROW = 20_480, 7_700  # bytes a row of a pass in float16


class CUDARuntimeError(RuntimeError):
    def __init__(self, status: int) -> None:
        self.status = status


@pytest.mark.parametrize(
    ("bytes_per_row", "free", "rows"),
    [
        (BERT_LARGE_ROW, 78 * GB, 135_168),
        (BERT_LARGE_ROW, 24 * GB, 135_168),
        (BERT_LARGE_ROW, 4 * GB, 67_584),
        (MINILM_ROW, int(1.2 * GB), 67_584),
        (BERT_LARGE_ROW, GB // 2, 8_448),
        (3 * BERT_LARGE_ROW, 24 * GB, 135_168),  # 8,192 tokens, 1,024 wide, in float32
    ],
)
def test_the_budget_follows_what_is_free(bytes_per_row: int, free: int, rows: int) -> None:
    assert rows_that_fit(135_168, bytes_per_row, free, 512, captured=True) == rows
    assert 2 * rows * bytes_per_row <= free - RESERVE_BYTES


@given(nominal=st.integers(1, 1 << 18), row=st.integers(1, 1 << 20), free=st.integers(0, 1 << 37), longest=st.integers(1, 1 << 15), captured=st.booleans())
def test_the_budget_is_the_nominal_one_halved_until_it_fits(nominal: int, row: int, free: int, longest: int, captured: bool) -> None:
    try:
        rows = rows_that_fit(nominal, row, free, longest, captured=captured)
    except DeviceError as refusal:
        needed = max(longest, SMALLEST_ROWS) * row
        assert needed > free - RESERVE_BYTES
        assert f"a document of {max(longest, SMALLEST_ROWS):,} tokens" in str(refusal)
        assert f"{needed + RESERVE_BYTES:,} bytes, and {free:,} are free" in str(refusal)
        return
    assert rows in {nominal >> bit for bit in range(20)} and rows >= min(nominal, SMALLEST_ROWS // 2)
    assert rows * row * (2 if captured else 1) <= free - RESERVE_BYTES or rows <= SMALLEST_ROWS


@pytest.mark.parametrize(
    ("error", "means_it"),
    [(MemoryError(), True), (CUDARuntimeError(2), True), (CUDARuntimeError(700), False), (RuntimeError("no status"), False), (ValueError(), False)],
)
def test_what_running_out_of_memory_looks_like(error: Exception, means_it: bool) -> None:
    assert is_out_of_memory(error) is means_it
    expected = DeviceError if means_it else type(error)
    with pytest.raises(expected) as caught, refusing("a weight [30522, 1024]", 62_509_056, lambda: 1_000):
        raise error
    assert not means_it or "a weight [30522, 1024] needs about 62,509,056 bytes, and 1,000 are free" in str(caught.value)


def documents(lengths: list[int]) -> PackedBatch:
    """One batch; a document's ids are its number, so that its sum tells which it is."""
    ids = np.repeat(np.arange(1, len(lengths) + 1, dtype=np.int32), lengths)
    (batch,) = pack(ids, np.cumsum([0, *lengths]), 10**9)
    return batch


class SmallGpu:
    """Holds `rows` rows at a time; captured passes take `captured` of them until they are released. Embeddings: (sum of ids, last position)."""

    depth, bytes_per_row = 3, 100.0

    def __init__(self, rows: Callable[[], int], captured: int = 0) -> None:
        self.rows, self.captured, self.sizes, self.released = rows, captured, list[int](), 0

    def submit(self, batch: PackedBatch) -> SmallGpu.Result:
        if batch.num_rows + self.captured > self.rows():
            raise MemoryError
        self.sizes.append(batch.num_rows)
        pairs = [(batch.input_ids[a:b].sum(), batch.position_ids[b - 1]) for a, b in zip(batch.cu_seqlens, batch.cu_seqlens[1:], strict=False)]
        return SmallGpu.Result(np.array(pairs, np.float32))

    def release(self) -> None:
        self.captured, self.released = 0, self.released + 1

    def close(self) -> None:
        pass

    class Result:
        def __init__(self, array: np.ndarray) -> None:
            self.array = array

        def result(self) -> np.ndarray:
            return self.array


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=40), room=st.integers(1, 400), captured=st.integers(0, 100), limit=st.integers(1, 500))
def test_a_batch_that_does_not_fit_is_computed_in_parts(lengths: list[int], room: int, captured: int, limit: int) -> None:
    gpu, batch = SmallGpu(lambda: room, captured), documents(lengths)
    program = ShrinkingProgram(gpu, limit, lambda: 77)
    if max(lengths) > room:
        with pytest.raises(DeviceError, match=r"a document of \d+ tokens needs about [\d,]+ bytes, and 77 are free"):
            program.submit(batch)
        return
    expected = [[number * length, length - 1] for number, length in enumerate(lengths, 1)]
    assert program.submit(batch).result().tolist() == expected
    assert sum(gpu.sizes) == batch.num_rows and program.limit <= limit
    again = gpu.released
    assert program.submit(batch).result().tolist() == expected
    assert gpu.released - again <= 1 or len(lengths) > 1


def test_it_shrinks_once_and_stays_small() -> None:
    """The memory that another process took is not asked for again with every batch."""
    room = [1000]
    gpu = SmallGpu(lambda: room[0])
    program, batch = ShrinkingProgram(gpu, 1000, lambda: 0), documents([10] * 90)
    program.submit(batch)
    assert gpu.sizes == [900] and gpu.released == 0
    room[0] = 300
    program.submit(batch)
    assert program.limit == 225 and gpu.sizes[1:] == [220, 220, 10, 220, 220, 10] and gpu.released == 2
    program.submit(batch)
    assert gpu.released == 2


def test_what_the_failed_pass_held_is_given_up_before_memory_is_released() -> None:
    """An exception's traceback keeps the arrays of every frame: without care they would still be there when the pool is freed."""
    kept: list[weakref.ref[np.ndarray]] = []

    class Holding(SmallGpu):
        def submit(self, batch: PackedBatch) -> SmallGpu.Result:
            if batch.num_rows > self.rows():
                self.compute(batch)
            return super().submit(batch)

        def compute(self, batch: PackedBatch) -> None:
            activations = np.zeros(batch.num_rows)
            kept.append(weakref.ref(activations))
            raise MemoryError

        def release(self) -> None:
            assert kept and all(reference() is None for reference in kept)
            super().release()

    gpu = Holding(lambda: 100)
    ShrinkingProgram(gpu, 200, lambda: 0).submit(documents([50] * 4))
    assert gpu.released == 1 and gpu.sizes == [100, 100]


def test_other_failures_are_not_taken_for_it() -> None:
    gpu = SmallGpu(lambda: 100)
    gpu.submit = lambda batch: (_ for _ in ()).throw(CUDARuntimeError(700))  # type: ignore[method-assign]
    with pytest.raises(CUDARuntimeError):
        ShrinkingProgram(gpu, 100, lambda: 0).submit(documents([3, 4]))
    assert gpu.released == 0


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=40), rows=st.integers(1, 200))
def test_splitting_keeps_every_document(lengths: list[int], rows: int) -> None:
    batch = documents(lengths)._replace(prompt_tokens=2)
    parts = list(split(batch, rows))
    assert np.concatenate([part.order for part in parts]).tolist() == batch.order.tolist()
    assert np.concatenate([part.input_ids for part in parts]).tolist() == batch.input_ids.tolist()
    for part in parts:
        assert part.prompt_tokens == 2 and part.cu_seqlens[0] == 0 and part.cu_seqlens[-1] == part.num_rows
        assert np.diff(part.cu_seqlens).tolist() == part.lengths.tolist() and (part.num_rows <= rows or part.num_sequences == 1)
        assert part.position_ids.tolist() == [position for length in part.lengths for position in range(length)]


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=40), rows=st.integers(1, 200), more=st.integers(0, 3))
def test_splitting_keeps_every_span(lengths: list[int], rows: int, more: int) -> None:
    whole = documents(lengths)
    starts = np.repeat(whole.cu_seqlens[:-1], 1 + more)
    spans = np.stack([starts, starts + np.repeat(whole.lengths, 1 + more)], 1)
    spans[1 :: 2 + more, 0] += 0 if len(spans) < 2 else spans[1 :: 2 + more, 1] - spans[1 :: 2 + more, 0] - 1
    batch, seen = whole._replace(spans=spans, order=np.arange(len(spans))), list[int]()
    for part in split(batch, rows):
        assert part.spans is not None and part.num_pooled == len(part.order)
        for place, (start, end) in zip(part.order.tolist(), part.spans.tolist(), strict=True):
            assert part.input_ids[start:end].tolist() == batch.input_ids[slice(*spans[place])].tolist()
            seen.append(place)
    assert seen == [*range(len(spans))]
