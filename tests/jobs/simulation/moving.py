"""A pool on a cluster: nodes leave with their workers, and come back or come for the first time, while the driver follows what room there is."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from embermill.jobs.pool.base import Died
from embermill.jobs.receipt import Event
from tests.jobs.simulation.workers import SimulatedPool, Worker, World

MOVING_FROM = 1_000_000_000  # seeds from here on have nodes that move
FOLLOW_S = 5.0
WAITS_S = 300.0  # for a node with room, at most
LONGEST_AWAY_S = 120.0


@dataclass(frozen=True)
class Moves:
    """away: node -> the times between which it is not there, in order."""

    away: dict[str, list[tuple[float, float]]]

    def is_there(self, node: str, now_s: float) -> bool:
        return not any(leaves_s <= now_s < back_s for leaves_s, back_s in self.away.get(node, ()))

    def next_s(self, now_s: float) -> float:
        """When something moves next."""
        return min((time_s for times in self.away.values() for both in times for time_s in both if time_s > now_s), default=math.inf)


def make_moves(seed: int, nodes: Collection[str]) -> Moves:
    """Any number of them may be away at once, at the beginning too."""
    rng, away = random.Random(f"moves {seed}"), dict[str, list[tuple[float, float]]]()
    for node in sorted(nodes):
        now_s = 0.0 if rng.random() < 0.2 else rng.uniform(0.5, 60.0)
        away[node] = []
        for _ in range(rng.choice((0, 1, 1, 2, 4))):
            away[node].append((now_s, now_s + rng.choice((0.3, 10.0, LONGEST_AWAY_S)) * rng.uniform(0.5, 1.0)))
            now_s = away[node][-1][1] + rng.uniform(0.5, 60.0)
    return Moves(away)


class MovingPool(SimulatedPool):
    """As RayPool does it: a worker that no node has room for waits for one."""

    def __init__(self, world: World, moves: Moves) -> None:
        super().__init__(world)
        self.moves = moves
        self.waiting: dict[int, tuple[float, frozenset[str]]] = {}

    def room(self) -> dict[str, int]:
        there = {node for node, _ in self.world.places if self.moves.is_there(node, self.now_s)}
        return dict(Counter(node for node, _ in self.world.places if node in there))

    def start_worker(self, avoid: Collection[str] = ()) -> int:
        number, self.started = self.started, self.started + 1
        self.waiting[number] = (self.now_s, frozenset(avoid))
        if avoid and not self.room().keys() - set(avoid):
            del self.waiting[number]
            self.refused.append(number)
        self._place_waiting()
        return number

    def _place_waiting(self) -> None:
        for number, (_, avoid) in list(self.waiting.items()):
            taken, room = {worker.place for worker in self.workers.values()}, self.room()
            free = [place for place, (node, _) in enumerate(self.world.places) if place not in taken and node in room and node not in avoid]
            if free:
                del self.waiting[number]
                self.workers[number] = Worker(self.world, self.world.rng.choice(free), self.now_s)

    @property
    def due_s(self) -> float:
        waits = [asked_s + WAITS_S for asked_s, _ in self.waiting.values()]
        return min([super().due_s, self.moves.next_s(self.now_s), *waits])

    def events(self, now_s: float) -> Iterator[tuple[int, Event | Died]]:
        self.now_s = now_s
        for number, worker in list(self.workers.items()):
            if not self.moves.is_there(worker.node, now_s):
                yield from self._lose(number, lives_on=self.world.rng.random() < 0.5)
        self._place_waiting()
        for number, (asked_s, _) in list(self.waiting.items()):
            if now_s - asked_s >= WAITS_S:
                del self.waiting[number]
                yield number, Died("no node has had room for it", "late")
        yield from super().events(now_s)

    def stop_worker(self, number: int) -> None:
        self.waiting.pop(number, None)
        super().stop_worker(number)
