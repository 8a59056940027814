"""What is known of workers: how many are wanted, who is at work on what and since when, who only fails, and which GPUs are broken. Pure."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from embermill.jobs.receipt import Failed, Ready

FAILED_RUN = 3  # partitions that a worker fails on, one after another, before it must wait for what others make of them


@dataclass
class Seat:
    """One worker that is ready. queue: partition -> attempt, in the order in which it works on them."""

    ready: Ready
    moved_s: float  # when its work last moved on, or when it was given some while it had none
    began_s: float = 0.0  # when it began with the first partition of its queue
    queue: dict[int, int] = field(default_factory=dict)
    failed: set[int] = field(default_factory=set)  # partitions it failed on since its last shard, of which nothing else is known yet
    contradicted: set[int] = field(default_factory=set)  # partitions it failed on since its last shard, and another worker finished

    def succeeded(self) -> None:
        self.failed.clear()
        self.contradicted.clear()

    @property
    def doubtful(self) -> bool:
        """It has only failed lately: it gets nothing new before others have tried what it failed on."""
        return len(self.failed) + len(self.contradicted) >= FAILED_RUN

    @property
    def broken(self) -> bool:
        """Others finished what it failed on, one after another."""
        return len(self.contradicted) >= FAILED_RUN

    def describe(self) -> str:
        return describe_worker(self.ready)


class Gone:
    """Numbers of workers that are gone. Pools count workers from 0, so only those are held that are not gone, though newer ones are: fewer than live."""

    def __init__(self) -> None:
        self._newest = -1  # of those that are gone
        self._living: set[int] = set()  # before it

    def add(self, worker: int) -> None:
        self._living.discard(worker)
        self._living.update(range(self._newest + 1, worker))
        self._newest = max(self._newest, worker)

    def __contains__(self, worker: int) -> bool:
        return worker <= self._newest and worker not in self._living


class Staff:
    """All workers of a run. wanted: how many to keep. starting: those that were asked for and are not ready.

    Memory: of each worker that lives, of each GPU that is broken, and a few numbers of each node that ever was; nothing of a worker that is gone.
    """

    def __init__(self, wanted: int, starting: int) -> None:
        self.wanted, self.starting = wanted, starting
        self.bound = math.inf  # workers, however many nodes come, as of the last look
        self.seats: dict[int, Seat] = {}
        self.refused_by: dict[int, Failed] = {}  # workers on which something failed that only a person can change, since their last shard
        self._gone = Gone()
        self._broken_gpus: set[tuple[str, str]] = set()  # (host, UUID)
        self._lost_places = Counter[str]()  # node -> places there whose workers refused to work, or were retired
        self._seen = dict[str, int]()  # node -> workers that it has, or had, room for
        self._awaits_node = False  # whether a node is away that had a place for a worker, as of the last look

    def __len__(self) -> int:
        """At work or on their way."""
        return len(self.seats) + self.starting

    def is_gone(self, worker: int) -> bool:
        return worker in self._gone

    def seat(self, worker: int, ready: Ready, now_s: float) -> None:
        """It is ready for work."""
        self.starting -= 1
        self.seats[worker] = Seat(ready, now_s)
        here = sum(seat.ready.node == ready.node for seat in self.seats.values())
        self._seen[ready.node] = max(here, self._seen.get(ready.node, 0))

    def remove(self, worker: int) -> Seat | None:
        """It is gone for good; its seat, None where it was never ready."""
        self._gone.add(worker)
        self.refused_by.pop(worker, None)
        if (seat := self.seats.pop(worker, None)) is None:
            self.starting -= 1
        return seat

    def retire(self, worker: int) -> Seat:
        """It is broken: no other takes its place, and none is to work on its GPU."""
        seat = self.seats[worker]
        self.remove(worker)
        self.give_up_place(seat.ready.node)
        if seat.ready.device_uuid:
            self._broken_gpus.add((seat.ready.host, seat.ready.device_uuid))
        return seat

    def give_up_place(self, node: str) -> None:
        """No other worker takes the place of one that was there."""
        self.wanted = max(self.wanted - 1, int(self._awaits_node))
        self._lost_places[node] += 1

    def follow(self, room: Mapping[str, int], barred: Collection[str], most: float) -> None:
        """As many workers are wanted as there are places now. room: node -> workers that it has room for. barred: nodes that get none.

        One is wanted even where no node is there at all, since one may come, and where only broken GPUs are left of a cluster that had others.
        """
        self._seen.update(room)
        self._awaits_node = any(self._places(node) > 0 for node in self._seen.keys() - room.keys() - set(barred))
        lost = sum(self._lost_places[node] for node in room)
        places = sum(max(0, self._places(node)) for node in room if node not in barred)
        self.bound = most - lost
        self.wanted = max(int(self._awaits_node), int(min(self.bound, places))) if any(room.values()) else 1

    def _places(self, node: str) -> int:
        """Workers that the node has room for, or had when it was last seen, without the places that were given up."""
        return self._seen[node] - self._lost_places[node]

    def is_on_broken_gpu(self, ready: Ready) -> bool:
        return (ready.host, ready.device_uuid) in self._broken_gpus


def describe_worker(ready: Ready) -> str:
    device = f"{ready.device_name} {ready.device_uuid}".strip()
    return f"the worker on {ready.host} ({device}, process {ready.pid})"


class Pace:
    """How long a partition takes, of late."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=32)

    def add(self, seconds: float) -> None:
        self._seconds.append(seconds)

    def slow(self, seconds: float) -> bool:
        """Twice as long as the median is; False while nothing is known."""
        return bool(self._seconds) and seconds > max(1.0, 2 * sorted(self._seconds)[len(self._seconds) // 2])
