"""Scales of int8 columns, before there is a plan to pin them: the first worker that is ready embeds a sample of the corpus and answers with them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from embermill.counts import several
from embermill.jobs.config import JobConfig
from embermill.jobs.corpus.surveyed import SurveyedFile
from embermill.jobs.errors import DataError, InputChanged, Interrupted, UsageError
from embermill.jobs.plan.planning import row_schema
from embermill.jobs.plan.sampling import sampled_partition, sampled_texts
from embermill.jobs.pool.base import Died, Pool
from embermill.jobs.pool.opening import Heard
from embermill.jobs.receipt import MEASURE, Alive, Failed, Measured, Progress, Ready, Sample, Task
from embermill.jobs.vectors.form import StoredVector

log = logging.getLogger(__name__)

ERRORS: dict[str, type[Exception]] = {"input_changed": InputChanged, "bad_data": DataError, "engine": DataError, "storage": Interrupted, "usage": UsageError}


def sample_of(config: JobConfig, files: tuple[SurveyedFile, ...], forms: tuple[StoredVector, ...]) -> Task:
    """What is given to a worker."""
    sample = Sample(row_schema(config, files), forms, sampled_texts(files))
    return Task(sampled_partition(files), kind=MEASURE, sample=sample)


def measure_forms(pool: Pool, heard: Heard, task: Task, *, stall_s: float, stop: threading.Event) -> tuple[StoredVector, ...]:
    """The forms with scale and ranges. heard: what the pool's workers have said so far; what they say meanwhile is added to it.

    A worker that dies of it, or stands still, is followed by the next; raises what the last one failed with, Interrupted where none is left.
    """
    tried, last = set[int](), "no worker was ready"
    while (worker := _untried(heard, tried)) is not None:
        tried.add(worker)
        pool.submit(worker, task)
        answer = _await(pool, worker, heard, stall_s, stop)
        if isinstance(answer, Measured):
            log.info("scales of %s were measured on %s", several(len(task.sample.forms) if task.sample else 0, "column"), several(answer.texts, "text"))
            return answer.forms
        if isinstance(answer, Failed):
            raise _as_error(answer)
        last = answer.error
    raise Interrupted(f"the scale of int8 columns could not be measured: {last}: nothing was written; run again")


def _untried(heard: Heard, tried: set[int]) -> int | None:
    gone = {number for number, event in heard if isinstance(event, Died)}
    return next((number for number, event in heard if isinstance(event, Ready) and number not in tried | gone), None)


def _await(pool: Pool, worker: int, heard: Heard, stall_s: float, stop: threading.Event) -> Measured | Failed | Died:
    """What becomes of it. A worker that dies is told of in `heard` as well: whoever drives the others replaces it."""
    last_s = time.monotonic()
    while not stop.is_set():
        for number, event in pool.events(0.5):
            if number == worker and isinstance(event, Measured | Failed):
                return event
            if number == worker and isinstance(event, Progress):
                last_s = time.monotonic()
            elif not isinstance(event, Alive):
                heard.append((number, event))
        died = next((event for number, event in heard if number == worker and isinstance(event, Died)), None)
        if died is not None:
            return died
        if time.monotonic() - last_s > stall_s:
            pool.stop_worker(worker)
            heard.append((worker, Died(f"it embedded nothing for {stall_s:g} s (workers.partition_stall_s), and was ended", "stalled")))
    raise Interrupted("interrupted while scales were measured; nothing was written")


def _as_error(failed: Failed) -> Exception:
    message = f"the scale of int8 columns could not be measured on a sample of the corpus: {failed.message}"
    if failed.kind not in ERRORS:
        return RuntimeError(f"{message}\n{failed.traceback}")
    return ERRORS[failed.kind](message)


def unmeasured(forms: Sequence[StoredVector]) -> bool:
    return not all(form.is_measured for form in forms)
