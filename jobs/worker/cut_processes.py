"""Documents cut by several processes beside a worker: one thread cuts a few megabytes a second, a GPU takes tens, and threads would share one interpreter.

Each process has a cutter of its own and takes whole batches; chunks come back in the order of the rows. A cutter's answer follows from the text alone, so
shards are the same for any number of processes.
"""

from __future__ import annotations

import logging
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.config import JobConfig
from embermill.jobs.corpus.rows import RowBatch, RowSchema
from embermill.jobs.errors import EngineError
from embermill.jobs.worker.cutting import split
from embermill.side_process import SideProcesses, SideProcessLost

log = logging.getLogger(__name__)
BLOCK_BYTES = 128 << 10  # of text, for one process at once: some 50 ms
WAITING_FOR_EACH = 2  # blocks that are cut, or wait for it or after it, for each process
MOST_WAITING_BYTES = 64 << 20  # of their texts; a longer document waits alone


class CutterLost(EngineError):
    """A process that cuts documents ended before it had answered. Another one takes its place, and the partition is tried again."""

    elsewhere = True


def open_processes(config: JobConfig, device: str, search_path: Sequence[str], count: int) -> CutProcesses | None:
    """None where there are to be none, or none can be started."""
    try:
        return CutProcesses(config, device, search_path, count) if count else None
    except OSError as error:
        log.warning("no process that cuts documents can be started (%s): the worker cuts them itself", error)
        return None


class CutProcesses:
    """They end with whoever made them. OSError where one cannot be started."""

    def __init__(self, config: JobConfig, device: str, search_path: Sequence[str], count: int) -> None:
        settings = {"HF_HUB_OFFLINE": "1"} if config.model.engine == "native" else {}  # the worker has just asked the hub, and has the model
        opener = "embermill.jobs.worker.chunk_rows:open_cutting"
        self._count = count
        self._processes = SideProcesses(opener, (config, device, tuple(search_path)), count, name="cutting", settings=settings)
        self.close = self._processes.close

    @property
    def pids(self) -> list[int]:
        return self._processes.pids

    def rows(self, batches: Iterable[RowBatch], schema: RowSchema) -> Iterator[RowBatch]:
        """As rows_of_chunks. What reading or cutting raises comes after the rows before it, as it does there."""
        first_row = document = 0
        for documents, made in self._in_order(batches, schema):
            yield _shifted(made, first_row, document)
            first_row, document = first_row + made.num_rows, document + documents

    def _in_order(self, batches: Iterable[RowBatch], schema: RowSchema) -> Iterator[tuple[int, RowBatch]]:
        """(input rows, chunks of them) of each block; reads ahead as far as may wait."""
        blocks = (block for batch in batches for block in _blocks(batch))
        waiting, held, fault = deque[_Asked](), 0, list[Exception]()
        block = _next(blocks, fault)
        try:
            while block is not None or waiting:
                while block is not None and self._may_wait(len(waiting), held + block.texts.nbytes):
                    held += block.texts.nbytes
                    first = block.ids.slice(0, 1).to_pylist()
                    waiting.append(_Asked(block.num_rows, block.texts.nbytes, first, len(block.ids), self._processes.ask(schema, block)))
                    block = _next(blocks, fault)
                asked = waiting.popleft()
                held -= asked.text_bytes
                yield asked.rows, asked.result()
        finally:
            for asked in waiting:
                asked.made.cancel()
        if fault:
            raise fault[0]

    def _may_wait(self, blocks: int, text_bytes: int) -> bool:
        return not blocks or (blocks < WAITING_FOR_EACH * self._count and text_bytes <= MOST_WAITING_BYTES)


class _Asked(NamedTuple):
    """A block that is cut. rows: of the input. first: the id of its first document, where it has one."""

    rows: int
    text_bytes: int
    first: list[str]
    documents: int
    made: Future[RowBatch]

    def result(self) -> RowBatch:
        try:
            return self.made.result()
        except SideProcessLost as lost:
            raise CutterLost(self._last_words(lost)) from None

    def _last_words(self, lost: SideProcessLost) -> str:
        named = f", the first of them {self.first[0]!r}" if self.first else ""
        advice = ": where memory is short, give the worker fewer CPUs (workers.cpus); some of them cut" if lost.code == -signal.SIGKILL else ""
        return f"a process that cuts documents ended {lost.how} while it had {self.documents} of them{named}{advice}"


def _next(blocks: Iterator[RowBatch], fault: list[Exception]) -> RowBatch | None:
    try:
        return next(blocks, None)
    except Exception as error:
        fault.append(error)
        return None


def _blocks(batch: RowBatch) -> Iterator[RowBatch]:
    """Consecutive rows of it, with as much text as is cut at once, or one document."""
    ends = np.cumsum(pc.binary_length(batch.texts).to_numpy(zero_copy_only=False), dtype=np.int64)
    taken = 0
    while len(ends) and ends[-1] - (ends[taken - 1] if taken else 0) > BLOCK_BYTES:
        room = max(taken + 1, int(np.searchsorted(ends, (ends[taken - 1] if taken else 0) + BLOCK_BYTES, side="right")))
        if room == len(ends):
            break
        part, batch = split(batch, int(batch.rows[room - taken]) - batch.first_row)
        yield _compact(part)
        taken = room
    yield _compact(batch)


def _compact(batch: RowBatch) -> RowBatch:
    """Without what its arrays hold of other rows: pickling would send all of it."""
    chosen = pa.array(np.arange(len(batch.ids)))
    columns = tuple(column.take(chosen) for column in batch.kept)
    first, end = batch.first_row, batch.first_row + batch.num_rows
    origins = (origin.part(first, end) for origin in batch.origins)
    here = tuple(origin for origin in origins if origin.num_rows)
    return replace(batch, ids=batch.ids.take(chosen), texts=batch.texts.take(chosen), kept=columns, origins=here)


def _shifted(batch: RowBatch, rows: int, documents: int) -> RowBatch:
    """Of a partition in which so many rows, of so many documents, come before it."""
    assert batch.chunks is not None
    return replace(
        batch,
        first_row=batch.first_row + rows,
        rows=batch.rows + rows,
        refused=tuple(replace(refusal, row=refusal.row + rows) for refusal in batch.refused),
        origins=tuple(replace(origin, ordinal=origin.ordinal + rows) for origin in batch.origins),
        chunks=replace(batch.chunks, documents=batch.chunks.documents + documents),
    )
