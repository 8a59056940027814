"""What went wrong with a partition, as data for the driver."""

from __future__ import annotations

import socket
import traceback

from embermill.jobs.errors import DataError, EngineError, InputChanged, Interrupted, UsageError
from embermill.jobs.partition import describe_partition
from embermill.jobs.receipt import Failed, Task
from embermill.jobs.storage import disk_failure


def failure(task: Task, error: BaseException) -> Failed:
    """What went wrong while reading or writing, as data. Whatever is not known as the data's or the storage's fault is a defect of ours."""
    trace = _trace(error)
    if isinstance(error, OSError):
        error = disk_failure(error, f"{describe_partition(task.partition)} on {socket.gethostname()}")
    kinds: tuple[tuple[type[BaseException], str], ...] = (
        (InputChanged, "input_changed"),
        (EngineError, "engine"),
        (DataError, "bad_data"),
        (Interrupted, "storage"),
        (UsageError, "usage"),
    )
    kind = next((kind for exception, kind in kinds if isinstance(error, exception)), "defect")
    return Failed(task.partition.number, kind, str(error) or type(error).__name__, trace, task.attempt)


def engine_failure(task: Task, cause: BaseException) -> Failed:
    if isinstance(cause, UsageError):  # a GPU whose memory is full will not hold the same text at the next attempt
        return failure(task, cause)
    message = str(cause) if isinstance(cause, EngineError) else f"the engine failed: {type(cause).__name__}: {cause}"
    return Failed(task.partition.number, "engine", f"{describe_partition(task.partition)}: {message}", _trace(cause), task.attempt)


def _trace(error: BaseException) -> str:
    """Empty for a broken contract: it would show the check, and nothing of the engine."""
    return "" if isinstance(error, EngineError) else "".join(traceback.format_exception(error))
