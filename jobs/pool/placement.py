"""How many workers, on what, with how much of the CPU: decided from the configuration and from what the nodes have. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embermill.jobs.config import WorkersConfig
from embermill.jobs.errors import UsageError


@dataclass(frozen=True)
class Node:
    """What Ray may give out on one node."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Placement:
    """device: "cpu" or "gpu". count: workers. cpus: of each worker, its threads included."""

    device: str
    count: int
    cpus: int

    @property
    def gpus(self) -> int:
        """Of each worker."""
        return 1 if self.device == "gpu" else 0


def place(workers: WorkersConfig, nodes: Sequence[Node], *, joined: bool, planned_device: str | None = None, gpu_library: bool = True) -> Placement:
    """Resolve what is `auto`. joined: on a cluster that is not ours; there `device: auto` never becomes a CPU job.

    planned_device: what the dataset's plan says, None where there is none. gpu_library: CuPy is installed where the driver runs.
    """
    device = _device(workers.device, sum(node.gpus for node in nodes), joined, planned_device, gpu_library)
    if device == "gpu":
        return _on_gpus(workers, nodes)
    cpus = 1 if workers.cpus == "auto" else workers.cpus
    slices = sum(int(node.cpus // cpus) for node in nodes)
    count = max(1, slices) if workers.count == "auto" else workers.count
    if joined and count > slices:
        raise UsageError(f"workers.count: {count} workers of {cpus} CPUs each were asked for; this cluster has room for {slices}")
    return Placement("cpu", count, cpus)


def _device(wanted: str, gpus: float, joined: bool, planned: str | None, gpu_library: bool) -> str:
    if wanted == "auto" and joined and gpus < 1:
        raise UsageError(
            "workers.device: auto: no node of this cluster has a GPU that Ray knows of; a cluster job is never turned into a CPU job in silence: "
            "add GPU nodes (ray start --num-gpus), or say workers.device: cpu"
        )
    if wanted == "gpu" and gpus < 1:
        raise UsageError("workers.device: gpu: Ray finds no GPU here: expected a GPU that nvidia-smi or rocm-smi shows, or workers.device: cpu")
    device = ("gpu" if gpus >= 1 and (joined or gpu_library) else "cpu") if wanted == "auto" else wanted
    if planned is not None and device != planned:
        begun = f"this dataset was begun on a {planned.upper()}, whose vectors differ in their last bits"
        raise UsageError(f"workers.device: {planned} -> {device}: {begun}; continue there, or choose another output.uri")
    return device


def _on_gpus(workers: WorkersConfig, nodes: Sequence[Node]) -> Placement:
    with_gpus = [node for node in nodes if node.gpus >= 1]
    there = sum(int(node.gpus) for node in with_gpus)
    count = there if workers.count == "auto" else workers.count
    if count > there:
        raise UsageError(f"workers.count: {count} workers were asked for, each on a GPU of its own; there are {there}")
    cpus = max(1, min(int(node.cpus // node.gpus) for node in with_gpus)) if workers.cpus == "auto" else workers.cpus
    return Placement("gpu", count, cpus)
