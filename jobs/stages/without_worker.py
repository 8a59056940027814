"""What a worker would report of itself, where there is nothing for one to embed: no process is started, and no weights are loaded, to plan nothing."""

from __future__ import annotations

import os
import platform
import socket
from pathlib import Path

from embermill.jobs.config import JobConfig
from embermill.jobs.engine.loading import describe_engine
from embermill.jobs.plan.forecast import Prospect
from embermill.jobs.receipt import Ready


def ready_without_worker(config: JobConfig, prospect: Prospect) -> Ready | None:
    """None where the engine cannot say unmade what it would be."""
    engine = prospect.engine
    if not engine.precision or not engine.outputs:
        return None
    model = config.model.model_copy(update={"precision": engine.precision})
    fingerprint = describe_engine(model, search_path=(str(Path.cwd()),))
    if fingerprint is None:
        return None
    return Ready(
        device_kind=prospect.device, device_name=platform.processor() or platform.machine(), device_uuid="", precision=engine.precision,
        fingerprint=fingerprint, outputs=engine.outputs, host=socket.gethostname(), pid=os.getpid(), threads=1, shortening=engine.shortening,
    )  # fmt: skip
