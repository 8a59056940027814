"""A planned forward pass on a GPU: batches in by pinned memory, compute on one stream, embeddings out on another; `depth` batches in flight.

    host -> pinned block -> (copies) block of the slot -> (compute) block of the graph -> forward -> embeddings -> (copies) pinned -> host

With `graphs`, the forward pass is captured once per bucket of rows and replayed; a batch runs in the smallest bucket that holds it. Everything
the pass allocates comes from a pool of its own: after the first run nothing is allocated, and a captured graph's memory is used by nobody else.
A batch of very many very short documents fits no bucket, and one with spans has another end; both run without a graph: the same kernels, the same bits.
What a pass takes is measured once, on a small batch (`bytes_per_row`); how large a batch may be then follows from what is free (memory.py).
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cupy as cp
import numpy as np

from embermill.encoder.backends.cupy.batch import BatchRoom, DeviceArray, GpuBatch, Pooled, attention_tiles
from embermill.encoder.pipeline.batching import PackedBatch, pack

log = logging.getLogger(__name__)

Forward = Callable[[GpuBatch], Pooled]

DEPTH = 3
SMALLEST_BUCKET = 256
ROWS_PER_DOCUMENT = 4  # a bucket of T rows holds T / 4 documents


@dataclass
class Bucket:
    """A captured forward pass of `room.rows` rows."""

    room: BatchRoom
    batch: GpuBatch
    embeddings: DeviceArray
    graph: Any


@dataclass
class Slot:
    """Buffers of one batch in flight, on the host (pinned) and on the GPU; they grow to the largest batch seen."""

    uploaded: Any = field(default_factory=lambda: cp.cuda.Event(disable_timing=True))
    computed: Any = field(default_factory=lambda: cp.cuda.Event(disable_timing=True))
    downloaded: Any = field(default_factory=lambda: cp.cuda.Event(disable_timing=True, block=True))
    host_in: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))
    device_in: Any = None
    host_out: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    device_out: Any = None
    pending: GpuPending | None = None

    def make_room(self, inputs: int, outputs: int) -> None:
        if len(self.host_in) < inputs:
            self.host_in, self.device_in = _pinned(inputs, np.int32), cp.empty(inputs, np.int32)
        if len(self.host_out) < outputs:
            self.host_out, self.device_out = _pinned(outputs, np.float32), cp.empty(outputs, np.float32)


class GpuPending:
    """The embeddings of one batch; they stay in the slot's pinned memory until asked for, or until the slot is needed again."""

    def __init__(self, slot: Slot, shape: tuple[int, int]) -> None:
        self.slot, self.shape, self.lock = slot, shape, threading.Lock()
        self.array: np.ndarray | None = None

    def result(self) -> np.ndarray:
        """[B, N] float32. By whichever thread comes first: the one that wants it, or the one that needs the slot."""
        with self.lock:
            if self.array is None:
                self.slot.downloaded.synchronize()
                self.array = self.slot.host_out[: self.shape[0] * self.shape[1]].reshape(self.shape).copy()
                self.slot.pending = None
            return self.array


class GpuProgram:
    """Program of the GPU backends; see the module's text. One thread submits; where it does so at most `depth` ahead, another may ask for the results."""

    depth = DEPTH

    def __init__(self, forward: Forward, tile_rows: int, max_batch_tokens: int, *, graphs: bool, buckets: Sequence[int] = ()) -> None:
        self.forward, self.tile_rows, self.graphs, self.bytes_per_row = forward, tile_rows, graphs, 0.0
        self.bucket_rows = sorted(set(buckets) | set(_halves(max_batch_tokens, SMALLEST_BUCKET))) if graphs else []
        self.compute, self.copies = cp.cuda.Stream(non_blocking=True), cp.cuda.Stream(non_blocking=True)
        self.pool = cp.cuda.MemoryPool()
        self.buckets: dict[int, Bucket] = {}
        self.slots = [Slot() for _ in range(DEPTH)]
        self.submitted = 0
        cp.cuda.Device().synchronize()  # weights were written on another stream

    def submit(self, batch: PackedBatch) -> GpuPending:
        slot = self.slots[self.submitted % DEPTH]
        self.submitted += 1
        if (pending := slot.pending) is not None:
            pending.result()
        tiles = attention_tiles(batch, self.tile_rows)
        bucket = self._bucket(batch, len(tiles))
        room = bucket.room if bucket else BatchRoom.of(batch, len(tiles))
        slot.make_room(room.size, 0)
        room.fill(slot.host_in[: room.size], batch, tiles)
        with self.copies:
            slot.device_in[: room.size].set(slot.host_in[: room.size], stream=self.copies)
            slot.uploaded.record(self.copies)
        self.compute.wait_event(slot.uploaded)
        with self.compute, cp.cuda.using_allocator(self.pool.malloc):
            embeddings = self._replay(bucket, slot) if bucket else self.forward(GpuBatch.on(slot.device_in[: room.size], room)).array
            shape = batch.num_pooled, embeddings.shape[1]
            size = shape[0] * shape[1]
        slot.make_room(0, size)
        with self.compute:
            _copy_on_device(slot.device_out, embeddings, size * 4, self.compute)
            slot.computed.record(self.compute)
        self.copies.wait_event(slot.computed)
        with self.copies:
            slot.device_out[:size].get(stream=self.copies, out=slot.host_out[:size], blocking=False)
            slot.downloaded.record(self.copies)
        slot.pending = GpuPending(slot, shape)
        return slot.pending

    def close(self) -> None:
        self.copies.synchronize()
        self.compute.synchronize()
        self.buckets.clear()
        self.pool.free_all_blocks()

    def measure(self, rows: int, longest: int) -> float:
        """bytes_per_row: what the pool holds after a pass over `rows` rows of documents of `longest` tokens at most, for each of them."""
        length = max(1, min(longest, rows))
        offsets = np.minimum(np.arange(-(-rows // length) + 1) * length, rows)
        (example,) = pack(np.zeros(rows, np.int32), offsets, rows)
        tiles = attention_tiles(example, self.tile_rows)
        room = self._room(rows)  # as buckets have it, with memory for many documents
        if not room.holds(example, len(tiles)):
            room = BatchRoom.of(example, len(tiles))
        block = np.empty(room.size, np.int32)
        room.fill(block, example, tiles)
        self.pool.free_all_blocks()
        with self.compute, cp.cuda.using_allocator(self.pool.malloc):
            self.forward(GpuBatch.on(cp.asarray(block), room))
            self.compute.synchronize()
        self.bytes_per_row = self.pool.total_bytes() / rows
        self.pool.free_all_blocks()
        return self.bytes_per_row

    def release(self) -> None:
        """Wait for what is in flight, keep its results, and give back captured passes and all that no weight lies in."""
        for slot in self.slots:
            if (pending := slot.pending) is not None:
                pending.result()
        self.copies.synchronize()
        self.compute.synchronize()
        self.buckets.clear()
        self.pool.free_all_blocks()
        cp.get_default_memory_pool().free_all_blocks()

    def run_bucket(self, rows: int) -> Bucket | None:
        """The captured pass of a bucket that has been used; for benchmarks, which replay it alone."""
        return self.buckets.get(rows)

    def _bucket(self, batch: PackedBatch, num_tiles: int) -> Bucket | None:
        if batch.spans is not None:
            return None
        for rows in self.bucket_rows:
            room = self._room(rows)
            if room.holds(batch, num_tiles):
                if rows not in self.buckets:
                    self.buckets[rows] = self._capture(room, batch)
                return self.buckets[rows]
        return None

    def _room(self, rows: int) -> BatchRoom:
        sequences = rows // ROWS_PER_DOCUMENT
        return BatchRoom(rows, sequences, rows // self.tile_rows + sequences)

    def _replay(self, bucket: Bucket, slot: Slot) -> DeviceArray:
        _copy_on_device(bucket.batch.block, slot.device_in, bucket.room.size * 4, self.compute)
        bucket.graph.launch(self.compute)
        return bucket.embeddings

    def _capture(self, room: BatchRoom, example: PackedBatch) -> Bucket:
        """Runs the pass once on `example` (kernels load, the pool fills), then captures it."""
        begin = time.perf_counter()
        block = np.empty(room.size, np.int32)
        room.fill(block, example, attention_tiles(example, self.tile_rows))
        with self.compute, cp.cuda.using_allocator(self.pool.malloc):
            batch = GpuBatch.on(cp.asarray(block), room)
            self.forward(batch)
            self.compute.synchronize()
            embeddings, graph = self._captured(batch)
        log.info("captured the forward pass for %d rows in %.2f s", room.rows, time.perf_counter() - begin)
        return Bucket(room, batch, embeddings, graph)


    def _captured(self, batch: GpuBatch) -> tuple[DeviceArray, Any]:
        """A pass that fails while it is captured must not leave the stream capturing: nothing else could be launched on it."""
        self.compute.begin_capture()
        try:
            embeddings = self.forward(batch).array
        except BaseException:
            with contextlib.suppress(Exception):
                self.compute.end_capture()
            raise
        return embeddings, self.compute.end_capture()


def _halves(largest: int, smallest: int) -> list[int]:
    """largest, half of it, ... while no smaller than `smallest`: where the largest is whole waves of a GPU, so are most of these."""
    return [largest, *(largest >> bit for bit in range(1, largest.bit_length()) if largest >> bit >= smallest)]


def _pinned(count: int, dtype: type) -> np.ndarray:
    size = count * np.dtype(dtype).itemsize
    return np.frombuffer(cp.cuda.alloc_pinned_memory(size), dtype, count)


def _copy_on_device(to: DeviceArray, source: DeviceArray, size: int, stream: Any) -> None:
    to.data.copy_from_device_async(source.data, size, stream)
