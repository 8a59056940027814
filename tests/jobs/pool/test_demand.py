"""What the cluster's autoscaler is told: as many groups wait as workers have no room, and none keeps what it was given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from embermill.jobs.pool import demand as module
from embermill.jobs.pool.demand import GIVEN_FOR_S, MOST_ASKED, Demand
from embermill.jobs.pool.placement import Share
from embermill.jobs.pool.ray_pool import LOOK_FOR_NODES_S, RayPool
from tests.jobs.pool.test_waiting import Cluster


@dataclass(frozen=True)
class Group:
    """As far as Ray's is needed."""

    number: int

    @property
    def id(self) -> Group:
        return self

    def hex(self) -> str:
        return str(self.number)


@dataclass
class Groups:
    """Ray's table of placement groups, and a clock."""

    table: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[tuple[Any, Any]] = field(default_factory=list)
    now_s: float = 100.0

    def create(self, bundles: list[dict[str, float]], *, strategy: str, bundle_label_selector: Any) -> Group:
        self.asked.append((bundles, bundle_label_selector))
        group = Group(len(self.asked))
        self.table[group.hex()] = {"state": "PENDING"}
        return group

    def remove(self, group: Group) -> None:
        del self.table[group.hex()]

    def give(self, number: int) -> None:
        self.table[str(number)]["state"] = "CREATED"


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> Groups:
    made = Groups()
    monkeypatch.setattr(module, "placement_group", made.create)
    monkeypatch.setattr(module, "remove_placement_group", made.remove)
    monkeypatch.setattr(module, "placement_group_table", lambda: made.table | {"others": {"state": "CREATED"}})
    monkeypatch.setattr("embermill.jobs.pool.demand.time.monotonic", lambda: made.now_s)
    return made


def test_as_many_wait_as_are_asked_for(groups: Groups) -> None:
    demand = Demand({"GPU": 1.0, "disk": 0.5}, {"zone": "eu"})
    for workers in (3, 3, 1, 2, 0):
        demand.ask(workers)
        assert len(groups.table) == workers
    assert groups.asked == [([{"GPU": 1.0, "disk": 0.5}], [{"zone": "eu"}])] * 4, "each by itself"
    demand.ask(10_000)
    assert len(groups.table) == MOST_ASKED
    demand.withdraw()
    assert groups.table == {}


def test_without_labels_any_node_will_do(groups: Groups) -> None:
    Demand({"CPU": 1.0}, {}).ask(1)
    assert groups.asked == [([{"CPU": 1.0}], None)]


def test_what_has_found_room_is_given_back_and_not_taken_again_before_its_worker_is_there(groups: Groups) -> None:
    demand = Demand({"GPU": 1.0}, {})
    demand.ask(3)
    groups.give(2)
    demand.ask(3)
    assert [*groups.table] == ["1", "3"], "the others keep waiting"
    demand.ask(2)
    assert [*groups.table] == ["1", "3"]
    groups.now_s += GIVEN_FOR_S
    demand.ask(3)
    assert [*groups.table] == ["1", "3", "4"], "nobody came to use it"


def test_the_pool_asks_for_who_waits_and_for_who_would_have_work(groups: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, a=Share(1, 1, 8, 8))
    pool = cluster.pool
    pool._demand = Demand({"GPU": 1.0}, {})

    def look() -> int:
        groups.now_s += max(LOOK_FOR_NODES_S, GIVEN_FOR_S)
        pool.events(0)
        return len(groups.table)

    for _ in range(2):
        pool.start_worker()
    pool.want(3)
    assert look() == 4 and len(cluster.begun) == 1
    cluster.shares["b"] = Share(1, 1, 8, 8)
    groups.give(1)
    assert look() == 3 and len(cluster.begun) == 2, "who waited has gone there"
    pool.want(0)
    assert look() == 0
    pool.want(5)
    assert look() == 5
    pool.close()
    assert groups.table == {}, "nothing outlives the pool"


def test_without_an_autoscaler_nobody_is_told(groups: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    pool: RayPool = Cluster(monkeypatch).pool
    pool.start_worker()
    pool.want(3)
    groups.now_s += LOOK_FOR_NODES_S
    pool.events(0)
    assert groups.asked == []
    pool.close()
