"""A program that goes on where memory runs out: smaller batches from then on, the same bits, since a document's bits do not depend on its neighbours."""

from __future__ import annotations

import logging
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

from embermill.encoder.backends.cupy.memory import does_not_fit, is_out_of_memory
from embermill.encoder.ops.base import Pending, Program
from embermill.encoder.pipeline.batching import PackedBatch

log = logging.getLogger(__name__)


class Releasing(Program, Protocol):
    """A program that can give back what it holds beside the weights. bytes_per_row: what a row of a batch takes while it is computed."""

    bytes_per_row: float

    def release(self) -> None:
        """Wait for what is in flight, keep its results, and free captured passes and pools."""
        ...


class ShrinkingProgram:
    """`program`, with batches of at most `limit` rows: half as many whenever one does not fit. free_bytes: of the device, for the message at the end."""

    def __init__(self, program: Releasing, limit: int, free_bytes: Callable[[], int]) -> None:
        self.program, self.limit, self.depth, self._free_bytes = program, limit, program.depth, free_bytes

    def submit(self, batch: PackedBatch) -> Pending:
        """Raises DeviceError for a document that does not fit by itself."""
        waiting, submitted = deque(split(batch, self.limit)), list[Pending]()
        released_for: PackedBatch | None = None
        while waiting:
            part = waiting.popleft()
            try:
                submitted.append(self.program.submit(part))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                traceback.clear_frames(error.__traceback__)  # the arrays of the pass that failed
                if part is released_for:  # alone, with nothing else of ours on the device
                    raise does_not_fit(f"a document of {part.num_rows:,} tokens", part.num_rows * self.program.bytes_per_row, self._free_bytes()) from error
                self._make_room(part)
                released_for = part if part.num_sequences == 1 else None
                waiting = deque(smaller for larger in (part, *waiting) for smaller in split(larger, self.limit))
        return submitted[0] if len(submitted) == 1 else Joined(submitted)

    def _make_room(self, part: PackedBatch) -> None:
        self.program.release()
        if part.num_sequences > 1:
            self.limit = part.num_rows // 2
            log.warning("out of GPU memory with a batch of %d rows: they hold %d from now on", part.num_rows, self.limit)

    def close(self) -> None:
        self.program.close()


class Joined:
    """The embeddings of the parts of a batch, one after another."""

    def __init__(self, parts: Sequence[Pending]) -> None:
        self.parts = parts

    def result(self) -> np.ndarray:
        """[B, N] float32."""
        return np.concatenate([part.result() for part in self.parts])


def split(batch: PackedBatch, rows: int) -> Iterator[PackedBatch]:
    """The documents of a tightly packed batch in batches of at most `rows` rows, in their order; one that is longer goes alone."""
    if batch.num_rows <= rows or batch.num_sequences == 1:
        yield batch
        return
    first, starts = 0, batch.cu_seqlens
    while first < batch.num_sequences:
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + rows, "right")) - 1)
        begin, end = int(starts[first]), int(starts[last])
        pooled, spans = slice(first, last), None
        if batch.spans is not None:
            pooled = slice(*np.searchsorted(batch.spans[:, 0], (begin, end)).tolist())
            spans = batch.spans[pooled] - np.int32(begin)
        yield batch._replace(
            input_ids=batch.input_ids[begin:end],
            position_ids=batch.position_ids[begin:end],
            cu_seqlens=starts[first : last + 1] - starts[first],
            lengths=batch.lengths[first:last],
            order=batch.order[pooled],
            spans=spans,
        )
        first = last
