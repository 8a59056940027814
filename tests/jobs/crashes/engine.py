"""An engine that is slow enough to be killed; importing it wraps what is shipped, so that workers of a real Ray come to the named points too."""

from __future__ import annotations

from typing import Any

from tests.jobs.crashes.points import install_from_environment
from tests.jobs.engines import SlowEngine

LOADED = "an engine is loaded"  # a point of its own: what starts the worker runs already when its process is told of the points
points = install_from_environment()


class CrashingEngine(SlowEngine):
    """Its vectors are PlainEngine's."""

    def __init__(self, model: Any = None, *, device: str = "cpu", threads: int = 1) -> None:
        super().__init__(model)
        if points is not None:
            points(LOADED)
