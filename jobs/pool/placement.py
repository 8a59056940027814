"""How many workers, on what, with how much of the CPU: decided from the configuration and from what the nodes have. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from embermill.counts import several
from embermill.jobs.config import WorkersConfig
from embermill.jobs.errors import UsageError


@dataclass(frozen=True)
class Node:
    """What Ray may give out on one node. id: Ray's name for it. resources: all that it has by name, CPUs and GPUs included. labels: as `ray start` gave them.

    available: of the resources, what nobody has now; None where all of it is ours.
    """

    cpus: float
    gpus: float
    id: str = ""
    resources: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    available: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Share:
    """What the workers of one node get. workers: how many it has room for. free: how many more than are there, as others use it, too.

    cpus: that each reserves of Ray, less than one where there are more GPUs than CPUs. threads: that each may use.
    """

    workers: int
    free: int
    cpus: float
    threads: int


NOTHING = Share(0, 0, 0, 0)
AUTOSCALED = "; where an autoscaler adds nodes on demand, set workers.autoscaling: true and workers.max"


@dataclass(frozen=True)
class Placement:
    """device: "cpu" or "gpu". count: workers to begin with. cpus: of each worker, its threads included, on the node where they are fewest.

    most: workers, however many nodes come later.
    """

    device: str
    count: int
    cpus: int
    most: float = math.inf

    @property
    def gpus(self) -> int:
        """Of each worker."""
        return 1 if self.device == "gpu" else 0


def place(workers: WorkersConfig, nodes: Sequence[Node], *, joined: bool, planned_device: str | None = None, gpu_library: bool = True) -> Placement:
    """Resolve what is `auto`. joined: on a cluster that is not ours; there `device: auto` never becomes a CPU job.

    planned_device: what the dataset's plan says, None where there is none. gpu_library: CuPy is installed where the driver runs.
    """
    matching = [node for node in nodes if matches(workers, node)]
    grows = joined and workers.autoscaling  # what is not there may come
    if nodes and not matching and not grows:
        missing = f"none of {several(len(nodes), 'node')} has what the workers ask for ({describe_wants(workers)})"
        raise UsageError(f"workers: {missing}: see `ray status` and the nodes' labels{AUTOSCALED if joined else ''}")
    device = _device(workers.device, math.inf if grows else sum(node.gpus for node in matching), joined, planned_device, gpu_library)
    shares = [share for node in matching if (share := share_of(workers, node, device)).workers]
    room = sum(share.workers for share in shares)
    threads = min((share.threads for share in shares), default=1 if workers.cpus == "auto" else workers.cpus)
    if not grows:
        _require_room(workers, device, room, threads, joined=joined)
    most = math.inf if workers.max is None else workers.max
    if workers.count == "auto":
        return Placement(device, int(min(max(1, sum(share.free for share in shares)), most)), threads, most)
    return Placement(device, workers.count, threads, workers.count)


def _require_room(workers: WorkersConfig, device: str, room: int, threads: int, *, joined: bool) -> None:
    """UsageError where fewer workers than were asked for could ever be placed."""
    if joined and room == 0:
        raise UsageError(f"workers.cpus: no node of this cluster has room for a worker: {several(threads, 'CPU')}, {describe_wants(workers)}{AUTOSCALED}")
    if workers.count != "auto" and workers.count > room:
        if device == "gpu":
            raise UsageError(f"workers.count: {workers.count} asked for, each on a GPU of its own; there is room for {room}")
        if joined:
            raise UsageError(f"workers.count: {workers.count} asked for, each of {several(threads, 'CPU')}; this cluster has room for {room}")


def matches(workers: WorkersConfig, node: Node) -> bool:
    """Whether it has the labels and, at least once, the resources that are asked for."""
    labels = all(node.labels.get(name) == value for name, value in workers.labels)
    return labels and all(node.resources.get(name, 0) >= amount for name, amount in workers.resources)


def share_of(workers: WorkersConfig, node: Node, device: str) -> Share:
    """What its workers get of it; nothing of a node without a GPU where the job is one for GPUs, nor of one without CPUs, on which nothing is to run."""
    gpus = int(node.gpus) if device == "gpu" else 0
    if not matches(workers, node) or node.cpus <= 0 or (device == "gpu" and gpus == 0):
        return NOTHING
    if workers.cpus != "auto":
        cpus, threads = float(workers.cpus), workers.cpus
    elif gpus:
        threads = max(1, int(node.cpus // gpus))
        cpus = min(threads, node.cpus / gpus)
    else:
        cpus = threads = 1
    wants = {"CPU": cpus, **({"GPU": 1.0} if gpus else {}), **dict(workers.resources)}
    there = {**node.resources, "CPU": node.cpus, "GPU": gpus}
    room = _fits(wants, there)
    return Share(room, room if node.available is None else min(room, _fits(wants, node.available)), cpus, threads)


def wants_of(workers: WorkersConfig, device: str) -> dict[str, float]:
    """What a worker takes of a node that is not known yet; of its CPUs, those that were asked for."""
    cpus = {"CPU": float(workers.cpus)} if workers.cpus != "auto" else {} if device == "gpu" else {"CPU": 1.0}
    return {**cpus, **({"GPU": 1.0} if device == "gpu" else {}), **dict(workers.resources)}


def light_workers(workers: WorkersConfig, device: str) -> WorkersConfig:
    """For tasks without an engine, of a job on that device: CPUs do them, all there are where `count` is of GPUs. No more are asked for than for the job."""
    if device != "gpu":
        return workers.model_copy(update={"device": "cpu"})
    most = workers.count if workers.autoscaling and workers.count != "auto" else workers.max
    return workers.model_copy(update={"device": "cpu", "count": "auto", "max": most})


def _fits(wants: Mapping[str, float], there: Mapping[str, float]) -> int:
    """How often; a resource that none is wanted of limits nothing."""
    return int(min((there.get(name, 0) + 1e-9) // amount for name, amount in wants.items() if amount))


def describe_wants(workers: WorkersConfig) -> str:
    """Of resources and labels, as the configuration has them."""
    wants = [f"workers.resources: {name}: {amount:g}" for name, amount in workers.resources]
    wants += [f"workers.labels: {name}: {value}" for name, value in workers.labels]
    return ", ".join(wants) or f"workers.device: {workers.device}"


def _device(wanted: str, gpus: float, joined: bool, planned: str | None, gpu_library: bool) -> str:
    if wanted == "auto" and joined and gpus < 1:
        raise UsageError(
            "workers.device: auto: no node of this cluster has a GPU that Ray knows of; a cluster job is never turned into a CPU job in silence: "
            f"add GPU nodes (ray start --num-gpus), or set workers.device: cpu{AUTOSCALED}"
        )
    if wanted == "gpu" and gpus < 1:
        raise UsageError("workers.device: gpu: Ray finds no GPU here: expected a GPU that nvidia-smi or rocm-smi shows, or workers.device: cpu")
    device = ("gpu" if gpus >= 1 and (joined or gpu_library) else "cpu") if wanted == "auto" else wanted
    if planned is not None and device != planned:
        begun = f"this dataset was begun on a {planned.upper()}, whose vectors differ in their last bits"
        raise UsageError(f"workers.device: {planned} -> {device}: {begun}; continue there, or choose another output.uri")
    return device
