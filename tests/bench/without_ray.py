"""Jobs whose workers are no Ray actors, on a machine where Ray need not be installed."""

from __future__ import annotations

import sys
import types

from embermill.jobs.config import WorkersConfig
from embermill.jobs.pool.placement import Node, Placement, place


def without_ray(cpus: int = 1, gpus: int = 0) -> None:
    """From now on commands of this process see a machine with so many cores and GPUs, and never import Ray."""

    def private_placement(workers: WorkersConfig, planned_device: str | None = None) -> Placement:
        return place(workers, [Node(cpus=cpus, gpus=gpus)], joined=False, planned_device=planned_device)

    stub = types.ModuleType("embermill.jobs.pool.ray_session")
    stub.private_placement = private_placement  # type: ignore[attr-defined]
    stub.gpu_library_here = lambda: gpus > 0  # type: ignore[attr-defined]
    sys.modules[stub.__name__] = stub
