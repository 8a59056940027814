"""A sample of the corpus, embedded so that scales can be measured: nothing of it is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from embermill.counts import several
from embermill.jobs.engine import Embedded, Engine
from embermill.jobs.errors import EngineError
from embermill.jobs.plan.sampling import read_sample
from embermill.jobs.receipt import Event, Measured, Progress, Task
from embermill.jobs.vectors.codec import measured
from embermill.jobs.worker.isolation import embed_or_isolate

BATCH_TEXTS = 256


def measure(engine: Engine, task: Task, emit: Callable[[Event], None]) -> Measured:
    """Scale and ranges of what is asked for. Texts that the engine fails on are left out. Raises what reading raises, and what an engine that fails on all."""
    sample = task.sample
    assert sample is not None
    parts = list[Embedded]()
    for texts in _batches(read_sample(task.partition, sample.rows, sample.texts)):
        embedded = embed_or_isolate(engine, texts, may_isolate=True).embedded
        if embedded is not None:
            parts.append(embedded)
        tokens = 0 if embedded is None else int(np.sum(embedded.num_tokens))
        emit(Progress(task.partition.number, "encode", len(texts), tokens, time.monotonic()))
    vectors = {output.column: _joined([part.columns.get(output.column) for part in parts], output.column, output.dim) for output in engine.outputs()}
    return Measured(measured(sample.forms, vectors), sum(len(part.num_tokens) for part in parts))


def _joined(parts: list[np.ndarray | None], column: str, dim: int) -> np.ndarray:
    """[N, dim] float32. EngineError for an answer of another form."""
    for part in parts:
        if part is None or part.dtype != np.float32 or part.ndim != 2 or part.shape[1] != dim:
            came = "none" if part is None else f"{part.dtype} {list(part.shape)}"
            raise EngineError(f"column {column!r}: expected float32 of {several(dim, 'column')}, the engine gave {came}")
    return np.concatenate([np.empty((0, dim), np.float32), *(part for part in parts if part is not None)])


def _batches(texts: pa.Array) -> Iterator[pa.Array]:
    for first in range(0, len(texts), BATCH_TEXTS):
        yield texts.slice(first, BATCH_TEXTS)
