"""Documents cut by several processes beside a worker: one thread cuts a few megabytes a second, a GPU takes tens, and threads would share one interpreter.

Each process has a cutter of its own and takes whole batches; chunks come back in the order of the rows. A cutter's answer follows from the text alone, so
shards are the same for any number of processes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.config import JobConfig
from embermill.jobs.corpus.rows import RowBatch, RowSchema
from embermill.jobs.errors import JobError
from embermill.jobs.process.device_tuning import DEVICE_TUNING
from embermill.jobs.worker.cut_server import read_frame, write_frame
from embermill.jobs.worker.cutting import split
from embermill.jobs.worker.writing_helpers import FEW_CORES

log = logging.getLogger(__name__)
PROGRAM = Path(__file__).with_name("cut_server.py")
BLOCK_BYTES = 128 << 10  # of text, for one process at once: some 50 ms
WAITING_FOR_EACH = 2  # blocks that are cut, or wait for it or after it, for each process
MOST_WAITING_BYTES = 64 << 20  # of their texts; a longer document waits alone
ONE_CORE = {name: "1" for name in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} | {"TOKENIZERS_PARALLELISM": "false"}

Question = tuple[RowSchema, RowBatch]


class CutterLost(JobError):
    """A process that cuts documents ended before it had answered. Another one takes its place, and the partition is tried again."""

    elsewhere = True


class _Elsewhere(Exception):
    """The traceback of an exception in another process."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def cutting_processes(device: str, threads: int) -> int:
    """threads: of the CPU that the worker may use. One with few of them cuts in the thread that reads."""
    return int(threads * DEVICE_TUNING[device].cutting_share) if threads >= FEW_CORES else 0


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
        hello = pickle.dumps((config, device, tuple(search_path)))
        settings = ONE_CORE | ({"HF_HUB_OFFLINE": "1"} if config.model.engine == "native" else {})  # the worker has just asked the hub, and has the model
        self._questions: SimpleQueue[tuple[Question, Future[RowBatch]] | None] = SimpleQueue()
        self._count, self._processes = count, list[_CutProcess]()
        weakref.finalize(self, _end, self._questions, self._processes)
        for _ in range(count):
            self._processes.append(_CutProcess(hello, settings))
        for process in self._processes:
            threading.Thread(target=_ask_in_turn, args=(process, self._questions), name="cutting", daemon=True).start()

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def close(self) -> None:
        _end(self._questions, self._processes)

    def rows(self, batches: Iterable[RowBatch], schema: RowSchema) -> Iterator[RowBatch]:
        """As rows_of_chunks. What reading or cutting raises comes after the rows before it, as it does there."""
        first_row = document = 0
        for documents, made in self._in_order(batches, schema):
            yield _shifted(made, first_row, document)
            first_row, document = first_row + made.num_rows, document + documents

    def _in_order(self, batches: Iterable[RowBatch], schema: RowSchema) -> Iterator[tuple[int, RowBatch]]:
        """(input rows, chunks of them) of each block; reads ahead as far as may wait."""
        blocks = (block for batch in batches for block in _blocks(batch))
        waiting, held, fault = deque[tuple[int, int, "Future[RowBatch]"]](), 0, list[Exception]()
        block = _next(blocks, fault)
        try:
            while block is not None or waiting:
                while block is not None and self._may_wait(len(waiting), held + block.texts.nbytes):
                    held += block.texts.nbytes
                    waiting.append((block.num_rows, block.texts.nbytes, self._asked(schema, block)))
                    block = _next(blocks, fault)
                documents, size, made = waiting.popleft()
                held -= size
                yield documents, made.result()
        finally:
            for _, _, made in waiting:
                made.cancel()
        if fault:
            raise fault[0]

    def _may_wait(self, blocks: int, text_bytes: int) -> bool:
        return not blocks or (blocks < WAITING_FOR_EACH * self._count and text_bytes <= MOST_WAITING_BYTES)

    def _asked(self, schema: RowSchema, block: RowBatch) -> Future[RowBatch]:
        made: Future[RowBatch] = Future()
        self._questions.put(((schema, block), made))
        return made


class _CutProcess:
    """One of them, used by one thread; it is started anew where it is gone."""

    def __init__(self, hello: bytes, settings: Mapping[str, str]) -> None:
        """settings: of its environment, beside the worker's."""
        self._hello, self._settings, self._over = hello, settings, False
        self._process = self._started()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, question: Question) -> RowBatch:
        if self._process.poll() is not None and not self._over:
            _close(self._process)
            self._process = self._started()
        process, answer = self._process, None
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(OSError):
            write_frame(process.stdin, pickle.dumps(question, protocol=5))
            answer = read_frame(process.stdout)
        if answer is None:
            raise CutterLost(_last_words(process, question[1]))
        made, failed = pickle.loads(answer)
        if failed is not None:
            raise failed[0] from _Elsewhere(failed[1])
        assert isinstance(made, RowBatch)
        return made

    def _started(self) -> subprocess.Popen[bytes]:
        environment = os.environ | self._settings
        process = subprocess.Popen([sys.executable, "-I", str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # whoever asks it finds it gone
            write_frame(process.stdin, pickle.dumps(sys.path))
            write_frame(process.stdin, self._hello)
        return process

    def end(self) -> None:
        self._over = True
        _close(self._process)


def _close(process: subprocess.Popen[bytes]) -> None:
    """It ends as soon as it has no more input."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    process.wait()


def _last_words(process: subprocess.Popen[bytes], block: RowBatch) -> str:
    process.kill()
    code = process.wait()
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
    first = f", the first of them {block.ids[0].as_py()!r}" if len(block.ids) else ""
    advice = ": where memory is short, give the worker fewer CPUs (workers.cpus); some of them cut" if code == -signal.SIGKILL else ""
    return f"a process that cuts documents ended {how} while it had {len(block.ids)} of them{first}{advice}"


def _ask_in_turn(process: _CutProcess, questions: SimpleQueue[tuple[Question, Future[RowBatch]] | None]) -> None:
    while (taken := questions.get()) is not None:
        question, made = taken
        if made.set_running_or_notify_cancel():
            try:
                made.set_result(process.ask(question))
            except BaseException as error:
                made.set_exception(error)
        del taken, question, made  # while it waits for the next


def _end(questions: SimpleQueue[Any], processes: list[_CutProcess]) -> None:
    for _ in processes:
        questions.put(None)
    for process in processes:
        process.end()


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
