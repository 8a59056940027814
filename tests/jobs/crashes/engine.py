"""An engine that is slow enough to be killed; importing it wraps what is shipped, so that workers of a real Ray come to the named points too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa

from embermill.jobs.engine import Embedded
from tests.jobs.crashes.points import install_from_environment
from tests.jobs.engines import PlainEngine, SlowEngine

LOADED = "an engine is loaded"  # a point of its own: what starts the worker runs already when its process is told of the points
points = install_from_environment()


class CrashingEngine(SlowEngine):
    """Its vectors are PlainEngine's."""

    def __init__(self, model: Any = None, *, device: str = "cpu", threads: int = 1) -> None:
        super().__init__(model)
        if points is not None:
            points(LOADED)


class TellingEngine(PlainEngine):
    """Writes each text that it was given to the file that EMBERMILL_CRASH_TEXTS names, one a line; its vectors are PlainEngine's."""

    def answer(self, texts: pa.Array) -> Embedded:
        if told := os.environ.get("EMBERMILL_CRASH_TEXTS"):
            with Path(told).open("a") as file:
                file.writelines(f"{text}\n" for text in texts.to_pylist())
        return super().answer(texts)
