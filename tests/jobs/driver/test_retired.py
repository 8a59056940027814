"""A worker that only fails while others succeed: it is retired, and no other computes on its GPU."""

from __future__ import annotations

from collections.abc import Callable

from embermill.jobs.driver.actions import Action, Finish, Hold, Say, Start, Stop
from embermill.jobs.pool.base import Died
from embermill.jobs.receipt import Failed, Ready
from tests.jobs.driver.test_scheduler import Answered, done, started, submitted
from tests.jobs.fakes import ready, receipt


def test_a_worker_that_only_fails_is_retired_and_its_failures_do_not_count() -> None:
    driver = started(30, workers=3)
    for worker in range(3):
        driver.handle(worker, ready(device_name="GPU", device_uuid=f"uuid-{worker}", host=f"host-{worker}"))
    tasks, said, failed = {1: [2, 3], 2: [4, 5]}, list[Action](), 0
    queue = [0, 1]
    while queue:  # NaN comes fast: worker 0 takes all that it is given
        actions = driver.handle(0, Failed(queue.pop(0), "engine", "nan"))
        queue += [number for worker, number in submitted(actions) if worker == 0]
        failed += 1
    assert failed == 4, "three and what it had in its queue: it gets nothing new before others have tried what it failed on"
    for _ in range(20):
        for worker in (1, 2):
            if tasks[worker]:
                actions = done(driver, worker, receipt(tasks[worker].pop(0)))
                said += [action for action in actions if isinstance(action, Say | Stop)]
                for to, number in submitted(actions):
                    assert to in tasks, "worker 0 gets nothing more"
                    tasks[to].append(number)
    assert said[0] == Stop(0) and isinstance(said[1], Say) and "host-0 (GPU uuid-0" in said[1].message and "retired" in said[1].message
    assert not driver.remaining and len(said) == 2


def with_one_retired(gpus: bool = True, host_of: Callable[[int], str] = lambda worker: "host") -> Answered:
    """Three workers, of one host or each of its own, of which worker 0 was retired; 1 and 2 are at work."""
    driver = started(30, workers=3, queued=1)
    given: dict[int, int] = {}
    for worker in range(3):
        given.update(submitted(driver.handle(worker, on_host(worker, host_of(worker), gpus=gpus))))
    for worker in (0, 1, 2) * 8:
        if worker in given:
            number = given.pop(worker)
            actions = driver.handle(worker, Failed(number, "engine", "nan")) if worker == 0 else done(driver, worker, receipt(number))
            given.update(submitted(actions))
            if Stop(0) in actions:
                return driver
    raise AssertionError("worker 0 was never retired")


def on_host(gpu: int, host: str = "host", *, gpus: bool = True) -> Ready:
    return ready(host=host, node=host, device_name="GPU", device_uuid=f"uuid-{gpu}") if gpus else ready(host=host, node=host)


def test_a_worker_on_a_retired_one_s_gpu_is_held_there_without_work_and_another_is_started() -> None:
    driver = with_one_retired()
    assert driver.handle(1, Died("killed by 9")) == [Start()]
    hold, say, start = driver.handle(3, on_host(0))
    assert (hold, start) == (Hold(3), Start()) and isinstance(say, Say)
    assert "host (GPU uuid-0" in say.message and "retired" in say.message and "no work" in say.message
    assert driver.handle(3, Died("killed by 9")) == [], "its end concerns nobody"
    assert submitted(driver.handle(4, on_host(1)))


def test_gpus_are_told_apart_by_their_host() -> None:
    driver = with_one_retired()
    driver.handle(1, Died("killed by 9"))
    assert submitted(driver.handle(3, on_host(0, "another host")))


def test_workers_without_a_gpu_are_not_told_apart() -> None:
    driver = with_one_retired(gpus=False)
    driver.handle(1, Died("killed by 9"))
    assert submitted(driver.handle(3, on_host(0, gpus=False)))


def test_a_worker_that_only_fails_does_not_get_what_was_queued_on_one_that_died() -> None:
    driver = started(30, workers=2, queued=4)
    for worker in (0, 1):
        driver.handle(worker, on_host(worker))
    driver.handle(1, Died("killed by 9"))
    given = {0, 1, 2, 3}
    while given:
        given |= {number for worker, number in submitted(driver.handle(0, Failed(given.pop(), "engine", "nan"))) if worker == 0}
    assert driver.remaining and not {4, 5, 6, 7} & {number for _, number in submitted(driver.tick(1.0))}
    assert submitted(driver.handle(2, on_host(1))), "its successor gets them"


def test_a_partition_that_ended_with_one_worker_and_failed_on_another_is_looked_at_by_a_third() -> None:
    driver = started(2, workers=3, queued=1)
    for worker in (0, 1):
        driver.handle(worker, on_host(worker))
    done(driver, 1, receipt(1))
    driver.handle(1, Died("killed by 9"))
    driver.handle(0, Died("killed by 9"))
    driver.handle(2, on_host(2))
    for _ in range(3):
        driver.handle(2, Failed(0, "engine", "nan"))
    assert 0 in driver.remaining
    assert submitted(driver.handle(3, on_host(3))) == [(3, 0)]
    assert done(driver, 3, receipt(0))[-1] == Finish(())


def test_where_only_a_broken_gpu_is_left_of_a_cluster_one_worker_is_waited_for() -> None:
    """The other nodes may come back, so the run does not end; nor does it where nobody had looked at the cluster before they went."""
    driver = with_one_retired(host_of="host-{}".format)
    driver.follow({"host-0": 1}, 5.0)
    assert Start() in [*driver.handle(1, Died("lost", node="host-1")), *driver.handle(2, Died("lost", node="host-2"))]
    hold, _, start = driver.handle(3, on_host(0, "host-0"))
    assert (hold, start) == (Hold(3), Start())
    assert driver.follow({"host-0": 1, "host-2": 1}, 10.0) == [], "the one that is waited for goes there"
    assert driver.follow({"host-0": 1, "host-2": 1, "host-3": 1}, 15.0) == [Start()]
