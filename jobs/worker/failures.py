"""What went wrong with a partition, as data for the driver."""

from __future__ import annotations

import traceback

from jobs.errors import DataError, EngineError, InputChanged, Interrupted
from jobs.receipt import Failed, Task, describe_partition


def failure(task: Task, error: BaseException) -> Failed:
    """What went wrong while reading or writing, as data. Whatever is not known as the data's or the storage's fault is a defect of ours."""
    kinds: tuple[tuple[type[BaseException], str], ...] = (
        (InputChanged, "input_changed"),
        (EngineError, "engine"),
        (DataError, "bad_data"),
        (Interrupted, "storage"),
        (OSError, "storage"),
    )
    kind = next((kind for exception, kind in kinds if isinstance(error, exception)), "defect")
    return Failed(task.partition.number, kind, str(error) or type(error).__name__, "".join(traceback.format_exception(error)), task.attempt)


def engine_failure(task: Task, cause: BaseException) -> Failed:
    message = str(cause) if isinstance(cause, EngineError) else f"the engine failed: {type(cause).__name__}: {cause}"
    where = describe_partition(task.partition)
    return Failed(task.partition.number, "engine", f"{where}: {message}", "".join(traceback.format_exception(cause)), task.attempt)
