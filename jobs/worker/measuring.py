"""A sample of the corpus, embedded so that scales can be measured: nothing of it is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from embermill.jobs.corpus.reading import read_rows
from embermill.jobs.engine import Embedded, Engine
from embermill.jobs.errors import EngineError
from embermill.jobs.partition import Partition
from embermill.jobs.plan.sampling import SAMPLED_BYTES, SEED
from embermill.jobs.receipt import Event, Measured, Progress, Sample, Task
from embermill.jobs.vectors.codec import measured
from embermill.jobs.worker.isolation import embed_or_isolate

BATCH_TEXTS = 256
SMALLEST_SHARE_BYTES = 64 << 10  # of text that is read at one place


def measure(engine: Engine, task: Task, emit: Callable[[Event], None]) -> Measured:
    """Scale and ranges of what is asked for. Texts that the engine fails on are left out. Raises what reading raises, and what an engine that fails on all."""
    sample = task.sample
    assert sample is not None
    parts = list[Embedded]()
    for texts in _batches(_chosen(task.partition, sample)):
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
            raise EngineError(f"column {column!r}: expected float32 of {dim} columns, the engine gave {came}")
    return np.concatenate([np.empty((0, dim), np.float32), *(part for part in parts if part is not None)])


def _chosen(partition: Partition, sample: Sample) -> pa.Array:
    """The texts of the sample, in corpus order."""
    held = [*_read(partition, sample)]
    texts = pa.concat_arrays(held) if held else pa.array([], pa.string())
    if len(texts) <= sample.texts:
        return texts
    return texts.take(pa.array(np.sort(np.random.default_rng(SEED).choice(len(texts), sample.texts, replace=False))))


def _read(partition: Partition, sample: Sample) -> Iterator[pa.Array]:
    """Of each segment about as many bytes of text."""
    share = max(SMALLEST_SHARE_BYTES, SAMPLED_BYTES // max(1, len(partition.segments)))
    for segment in partition.segments:
        left = share
        for batch in read_rows(replace(partition, segments=(segment,)), sample.rows, batch_bytes=min(share, 4 << 20)):
            if len(batch.texts):
                yield batch.texts
            left -= batch.texts.nbytes
            if left <= 0:
                break


def _batches(texts: pa.Array) -> Iterator[pa.Array]:
    for first in range(0, len(texts), BATCH_TEXTS):
        yield texts.slice(first, BATCH_TEXTS)
