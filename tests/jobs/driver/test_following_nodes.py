"""Nodes come and go while the driver works: who is started, who is waited for, and what it would do with more nodes."""

from __future__ import annotations

import math

from embermill.jobs.driver.actions import Abort, Start
from embermill.jobs.pool.base import Died
from tests.jobs.driver.test_scheduler import Answered
from tests.jobs.fakes import partition, ready, receipt


def following(most: float = math.inf) -> Answered:
    """Two workers on node a, with more to do than they take."""
    driver = Answered([partition(number) for number in range(40)], (), workers=2, queued=2, most=most)
    driver.start()
    for worker in range(2):
        driver.handle(worker, ready(node="a"))
    return driver


def test_a_node_that_joins_gets_workers_up_to_the_most() -> None:
    assert following().follow({"a": 2, "b": 3}, 5.0) == [Start()] * 3
    assert following(most=4).follow({"a": 2, "b": 3}, 5.0) == [Start()] * 2
    driver = following()
    assert driver.follow({"a": 2}, 5.0) == [] and driver.follow({"a": 2, "b": 1}, 10.0) == [Start()] and driver.follow({"a": 2, "b": 1}, 15.0) == []


def test_workers_that_a_cluster_has_no_room_for_are_lacking_where_they_would_have_work() -> None:
    driver = following(most=5)
    driver.follow({"a": 2}, 5.0)
    assert driver.lacking == 3
    driver.follow({"a": 2, "b": 2}, 10.0)
    assert driver.lacking == 1, "two are on their way"
    driver.handle(2, Died("does not see what the driver wrote", "usage", node="b"))
    driver.follow({"a": 2, "b": 2}, 15.0)
    assert driver.lacking == 1, "the place of the one that refuses is not asked for again"
    driver.handle(3, ready(node="b"))
    for number in range(6, 40):
        driver.handle(0, receipt(number))
    driver.follow({"a": 2, "b": 2}, 20.0)
    assert driver.lacking == 0, "all that is left has a worker"


def test_a_worker_whose_node_has_left_is_not_replaced_until_one_joins() -> None:
    driver = following()
    driver.follow({"a": 1}, 5.0)
    assert [action for action in driver.handle(1, Died("lost", node="b")) if isinstance(action, Start)] == []
    assert Start() in driver.follow({"a": 1, "c": 1}, 10.0)


def test_where_no_node_is_left_one_worker_is_waited_for() -> None:
    driver = following()
    driver.follow({}, 5.0)
    actions = [*driver.handle(0, Died("lost", node="a")), *driver.handle(1, Died("lost", node="a"))]
    assert [action for action in actions if isinstance(action, Start | Abort)] == [Start()]


def test_the_place_of_a_worker_that_refuses_is_not_filled_again() -> None:
    driver = following()
    assert driver.follow({"a": 2, "b": 1}, 5.0) == [Start()]
    driver.handle(2, Died("does not see what the driver wrote", "usage", node="b"))
    assert driver.follow({"a": 2, "b": 1}, 10.0) == []
    assert driver.follow({"a": 2, "c": 1}, 15.0) == [Start()], "a node that was restarted has another name"
