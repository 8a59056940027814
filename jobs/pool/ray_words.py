"""What Ray itself says on the terminal of whoever connects to it, and of that what a person who runs a job should see."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

log = logging.getLogger(__name__)
DEATH = "A worker died or was killed while executing a task"
PRINT = "print_to_stdstream"  # of ray._private.worker; a later Ray may call it otherwise, and then its lines are seen again


@contextlib.contextmanager
def without_deaths(module: Any) -> Iterator[None]:
    """module: ray._private.worker. Ray tells of each worker that died in a line of a thousand characters, also where it was us who ended one that stood still.

    The driver hears of the same death through the worker's events and says in one line of its own what happened and what it does about it.
    There is no setting for it: ray.init(log_to_driver=False) keeps what workers print, and not what raylets report.
    """
    real = getattr(module, PRINT, None)
    if real is None or log.isEnabledFor(logging.DEBUG):
        yield
        return

    def printed(data: dict[str, Any], *arguments: Any, **named: Any) -> None:
        lines = [line for line in data["lines"] if not str(line).startswith(DEATH)]
        if lines:
            real(data | {"lines": lines}, *arguments, **named)

    setattr(module, PRINT, printed)
    try:
        yield
    finally:
        setattr(module, PRINT, real)
