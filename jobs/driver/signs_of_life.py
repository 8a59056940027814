"""When each worker was last heard of, and when its work last moved on: for `status`, which tells a silent worker from one that has nothing to do. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from embermill.jobs.pool.base import Died
from embermill.jobs.receipt import Done, Event, Failed, Progress, Ready, Receipt

SHOWN = 64  # workers in a heartbeat, the most silent ones first


@dataclass
class _Signs:
    where: str
    heard_s: float
    partition: int | None = None
    moved_s: float | None = None


class SignsOfLife:
    """Of the workers that are ready."""

    def __init__(self) -> None:
        self._workers: dict[int, _Signs] = {}

    def heard(self, worker: int, event: Event | Died, now_s: float) -> None:
        match event:
            case Ready():
                self._workers[worker] = _Signs(f"{event.host}:{event.pid}", now_s)
            case Died():
                self.gone(worker)
            case _ if (signs := self._workers.get(worker)) is not None:
                signs.heard_s = now_s
                if isinstance(event, Progress | Receipt | Done | Failed):
                    signs.partition, signs.moved_s = event.partition, now_s

    def gone(self, worker: int) -> None:
        self._workers.pop(worker, None)

    def describe(self, now_s: float) -> list[dict[str, object]]:
        """Of each worker: where, the partition it last worked on, seconds since that moved on (None before any) and since any sign of life."""
        silent = sorted(self._workers.items(), key=lambda item: item[1].heard_s)[:SHOWN]
        return [
            {
                "worker": number,
                "where": signs.where,
                "partition": signs.partition,
                "progress_age_s": None if signs.moved_s is None else round(now_s - signs.moved_s, 1),
                "silent_s": round(now_s - signs.heard_s, 1),
            }
            for number, signs in silent
        ]
