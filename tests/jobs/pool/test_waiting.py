"""RayPool chooses the node of each worker; one that no node has room for waits until one has. Ray itself is left out."""

from __future__ import annotations

import time
from typing import Any

import pytest
import ray

from embermill.jobs.pool.base import Died
from embermill.jobs.pool.placement import Placement, Share
from embermill.jobs.pool.ray_pool import LOOK_FOR_NODES_S, RayPool, _Actor

Begun = list[tuple[int, str, int]]


class Cluster:
    """Nodes with room, as a test says, and what was begun on them: number, node, threads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **shares: Share) -> None:
        self.shares, self.begun = dict(shares), Begun()
        monkeypatch.setattr(RayPool, "_begin", self._begin)
        monkeypatch.setattr(RayPool, "_with_events", lambda pool, timeout_s: [])
        monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True}])
        monkeypatch.setattr(ray, "kill", lambda handle: None)
        self.pool = RayPool(None, Placement("gpu", 1, 1), lambda: self.shares, start_timeout_s=300)  # type: ignore[arg-type]

    def _begin(self, number: int, node: str, share: Share, asked_s: float) -> Any:
        self.begun.append((number, node, share.threads))
        return _Actor(None, None, asked_s, node, time.monotonic())


def test_each_worker_goes_where_most_room_is_and_gets_that_nodes_share(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, a=Share(2, 2, 8, 8), b=Share(1, 1, 24, 24))
    for _ in range(3):
        cluster.pool.start_worker()
    assert sorted(cluster.begun) == [(0, "a", 8), (1, "b", 24), (2, "a", 8)]
    assert cluster.pool.room() == {"a": 2, "b": 1}


def test_who_finds_no_room_waits_for_a_node_that_joins(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, a=Share(1, 1, 8, 8))
    for _ in range(2):
        cluster.pool.start_worker()
    assert cluster.pool.events(0) == [] and len(cluster.begun) == 1
    cluster.shares["b"] = Share(4, 4, 8, 8)
    cluster.pool._placed_s -= LOOK_FOR_NODES_S
    cluster.pool.events(0)
    assert cluster.begun[1:] == [(1, "b", 8)]


def test_what_others_have_taken_is_left_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, a=Share(workers=4, free=1, cpus=8, threads=8))
    for _ in range(2):
        cluster.pool.start_worker()
    assert len(cluster.begun) == 1, "what Ray says is free does not know of the first one yet"
    cluster.shares["a"] = Share(workers=4, free=0, cpus=8, threads=8)
    assert cluster.pool.room() == {"a": 1}, "ours, and nothing more"


def test_nodes_that_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, a=Share(2, 2, 8, 8), b=Share(1, 1, 8, 8))
    cluster.pool.start_worker(avoid={"a"})
    assert cluster.begun == [(0, "b", 8)]
    cluster.pool.start_worker(avoid={"a", "b"})
    ((number, died),) = cluster.pool.events(0)
    assert number == 1 and isinstance(died, Died) and died.kind == "usage" and "left out: a, b" in died.error


def test_who_has_waited_too_long_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch)
    cluster.pool.start_worker()
    assert cluster.pool.events(0) == []
    cluster.pool._waiting[0] = (time.monotonic() - 301, frozenset())
    ((number, died),) = cluster.pool.events(0)
    assert number == 0 and isinstance(died, Died) and died.kind == "late" and "no node has had room" in died.error
