"""The driver's decisions, one event after another."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

import pytest

from embermill.jobs.driver.actions import Abort, Action, Commit, Finish, Say, Start, Stop, Submit
from embermill.jobs.driver.scheduler import Scheduler
from embermill.jobs.driver.workload import Work, Workload
from embermill.jobs.errors import Interrupted, UsageError
from embermill.jobs.partition import describe_partition
from embermill.jobs.pool.base import Died
from embermill.jobs.receipt import Alive, Done, Event, Failed, Progress, Ready, Receipt
from tests.jobs.fakes import partition, ready, receipt


def submitted(actions: list[Action]) -> list[tuple[int, int]]:
    return [(action.worker, action.task.partition.number) for action in actions if isinstance(action, Submit)]


def committed(actions: list[Action]) -> list[tuple[int, int]]:
    return [(action.receipt.partition, action.receipt.ordinal) for action in actions if isinstance(action, Commit)]


class Answered(Scheduler):
    """A driver whose workers name the attempt that they were given last, as real ones do."""

    def handle(self, worker: int, event: Event | Died, now_s: float = 0.0) -> list[Action]:
        given: dict[tuple[int, int], int] = self.__dict__.setdefault("given", {})
        if isinstance(event, Done | Failed):
            event = replace(event, attempt=given.get((worker, event.partition), 0))
        actions = super().handle(worker, event, now_s)
        given.update({(action.worker, action.task.partition.number): action.task.attempt for action in actions if isinstance(action, Submit)})
        return actions


def started(partitions: int, workers: int = 1, queued: int = 2, stall_s: float = math.inf, when_lost: str = "") -> Answered:
    driver = Answered([partition(number) for number in range(partitions)], (), workers=workers, queued=queued, stall_s=stall_s, when_lost=when_lost)
    driver.start()
    return driver


def done(driver: Scheduler, worker: int, event: Receipt) -> list[Action]:
    """A partition of one shard, from its receipt to its end."""
    return [*driver.handle(worker, event), *driver.handle(worker, Done(event.partition))]


def test_nothing_to_do_is_finished_at_once() -> None:
    assert Scheduler([], (), workers=2).start() == [Finish(())]
    assert Scheduler([partition(0)], [receipt(0)], workers=2).start() == [Finish(())]


def test_no_more_workers_than_partitions() -> None:
    assert Scheduler([partition(0), partition(1)], [receipt(0)], workers=8).start() == [Start()]
    assert Scheduler([partition(number) for number in range(9)], (), workers=4, starting=1).start() == [Start()] * 3


def test_the_first_to_be_ready_leaves_the_others_their_share() -> None:
    driver = started(9, workers=4, queued=4)
    assert [len(submitted(driver.handle(worker, ready()))) for worker in range(4)] == [2, 2, 2, 2]
    driver = started(4, workers=4, queued=4)
    assert [submitted(driver.handle(worker, ready())) for worker in range(4)] == [[(worker, worker)] for worker in range(4)]
    driver = started(4, workers=4, queued=4)
    for worker in range(1, 4):
        assert driver.handle(worker, Died("no GPU", "usage")) == [], "those that work go on, and none of the others is begun again"
    assert len(submitted(driver.handle(0, ready()))) == 4, "where no others will come, all of it is one's own"


def test_two_partitions_wait_on_every_worker() -> None:
    driver = started(6, workers=2)
    assert submitted(driver.handle(7, ready())) == [(7, 0), (7, 1)]
    assert submitted(driver.handle(8, ready())) == [(8, 2), (8, 3)]
    actions = done(driver, 7, receipt(0))
    assert committed(actions) == [(0, 0)] and submitted(actions) == [(7, 4)]


def test_as_many_partitions_wait_as_are_asked_for() -> None:
    driver = started(6, queued=4)
    assert submitted(driver.handle(0, ready())) == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert submitted(done(driver, 0, receipt(0))) == [(0, 4)]


def test_the_end_comes_with_the_last_receipt() -> None:
    driver = started(2)
    driver.handle(0, ready())
    assert done(driver, 0, receipt(0)) == [Commit(receipt(0))]
    assert driver.handle(0, receipt(1)) == [Commit(receipt(1)), Finish(())]
    assert driver.handle(0, receipt(1)) == []


def test_committed_shards_are_not_asked_for_again() -> None:
    driver = Scheduler([partition(0), partition(1)], [receipt(0, 0, last=False), receipt(0, 2)], workers=1)
    driver.start()
    tasks = [action.task for action in driver.handle(0, ready()) if isinstance(action, Submit)]
    assert [task.skip for task in tasks] == [{0, 2}, set()]
    assert committed(driver.handle(0, receipt(0, 1, last=False))) == [(0, 1)], "the gap is closed"
    assert list(driver.remaining) == [1]


def test_a_lost_receipt_is_asked_for_again() -> None:
    driver = started(1)
    driver.handle(0, ready())
    assert committed(driver.handle(0, receipt(0, 1))) == [(0, 1)]
    (again,) = driver.handle(0, Done(0))
    assert isinstance(again, Submit) and again.task.skip == {1}
    (once_more,) = driver.handle(0, Done(0))
    assert isinstance(once_more, Submit)
    (finish,) = driver.handle(0, Done(0))
    assert isinstance(finish, Finish) and finish.failures[0].kind == "defect"


def test_a_receipt_is_committed_once_whoever_sends_it() -> None:
    driver = started(3, workers=2)
    driver.handle(0, ready())
    driver.handle(1, ready())
    assert committed(driver.handle(0, receipt(0))) == [(0, 0)]
    assert committed(driver.handle(0, receipt(0))) == [] and committed(driver.handle(5, receipt(0))) == []


@pytest.mark.parametrize("kind", ["bad_data", "input_changed"])
def test_bad_data_is_final_and_the_rest_is_done_first(kind: str) -> None:
    driver = started(3)
    driver.handle(0, ready())
    assert submitted(driver.handle(0, Failed(0, kind, "broken"))) == [(0, 2)]
    driver.handle(0, receipt(1))
    (finish,) = (action for action in driver.handle(0, receipt(2)) if isinstance(action, Finish))
    assert [(failed.partition, failed.kind, failed.message) for failed in finish.failures] == [(0, kind, "broken")]


@pytest.mark.parametrize("kind", ["engine", "storage", "defect"])
def test_other_failures_are_tried_three_times(kind: str) -> None:
    driver = started(1)
    driver.handle(0, ready())
    failed = Failed(0, kind, "no luck")
    assert submitted(driver.handle(0, failed)) == [(0, 0)]
    assert submitted(driver.handle(0, failed)) == [(0, 0)]
    (finish,) = driver.handle(0, failed)
    assert isinstance(finish, Finish) and [each.message for each in finish.failures] == ["no luck"]


def test_storage_that_fails_everything_ends_the_run_and_a_shard_in_between_does_not() -> None:
    driver = started(40)
    driver.handle(0, ready())
    for number in range(5):
        assert not any(isinstance(action, Abort) for action in driver.handle(0, Failed(number, "storage", "disk full")))
    done(driver, 0, receipt(5))
    for number in range(6, 11):
        assert not any(isinstance(action, Abort) for action in driver.handle(0, Failed(number, "storage", "disk full")))
    (abort,) = driver.handle(0, Failed(11, "storage", "disk full"))
    assert isinstance(abort, Abort) and isinstance(abort.error, Interrupted) and "6 attempts failed" in str(abort.error) and "disk full" in str(abort.error)


def test_what_only_a_person_can_mend_ends_the_run_at_once() -> None:
    driver = started(9)
    driver.handle(0, ready())
    (abort,) = driver.handle(0, Failed(0, "usage", "access denied"))
    assert isinstance(abort, Abort) and isinstance(abort.error, UsageError) and str(abort.error) == "access denied"


def test_old_news_of_an_attempt_is_passed_over() -> None:
    driver = started(9)
    driver.handle(0, ready())
    failed = Failed(0, "storage", "no luck")
    first = replace(failed, attempt=1)
    assert submitted(Scheduler.handle(driver, 0, first)) == [(0, 2)]
    assert Scheduler.handle(driver, 0, first) == [] and Scheduler.handle(driver, 0, Done(0, 1)) == []


def test_a_dead_worker_is_replaced_and_its_partitions_are_given_to_another() -> None:
    driver = started(4)
    driver.handle(0, ready())
    assert Start() in driver.handle(0, Died("killed"))
    assert submitted(driver.handle(1, ready())) == [(1, 2), (1, 3)], "what was not on the dead worker goes first"
    done(driver, 1, receipt(2))
    assert submitted(done(driver, 1, receipt(3))) == [(1, 0)], "a suspect is alone on its worker"
    assert submitted(done(driver, 1, receipt(0))) == [(1, 1)]
    assert driver.handle(1, receipt(1))[-1] == Finish(())


def test_a_partition_that_kills_its_worker_three_times_is_named_and_the_one_beside_it_is_done() -> None:
    driver = started(2)
    assert submitted(driver.handle(0, ready())) == [(0, 0), (0, 1)]
    driver.handle(0, Died("out of memory"))
    assert submitted(driver.handle(1, ready())) == [(1, 0)]
    driver.handle(1, Died("out of memory"))
    assert submitted(driver.handle(2, ready())) == [(2, 1)]
    assert submitted(done(driver, 2, receipt(1))) == [(2, 0)]
    (finish,) = (action for action in driver.handle(2, Died("out of memory")) if isinstance(action, Finish))
    (failed,) = finish.failures
    assert (failed.partition, failed.kind) == (0, "engine") and "/corpus/0.parquet" in failed.message and "out of memory" in failed.message


def test_a_node_whose_workers_die_the_same_way_is_named_and_the_job_ends_where_it_is_the_only_one() -> None:
    driver = started(5)
    for worker in range(2):
        assert driver.handle(worker, Died(f"no module named x, process {worker}", host="here", node="n")) == [Start()]
    say, start = driver.handle(2, Died("no module named x, process 2", host="here", node="n"))
    assert start == Start(frozenset({"n"}))
    (abort,) = driver.handle(3, Died("no other node has room", "usage"))
    assert isinstance(abort, Abort) and isinstance(abort.error, UsageError) and "here: 3 workers died there the same way" in str(abort.error)
    assert isinstance(say, Say) and "no module named x" in say.message and "gets no more workers" in say.message


def test_the_other_nodes_carry_on_without_one_whose_workers_die() -> None:
    driver = started(9, workers=2)
    driver.handle(0, ready(node="good"))
    driver.handle(1, ready(node="bad"))
    assert Start() in driver.handle(1, Died("killed by 9", node="bad"))
    driver.handle(2, ready(node="bad"))
    assert Start() in driver.handle(2, Died("killed by 9", node="bad"))
    driver.handle(3, ready(node="bad"))
    actions = driver.handle(3, Died("killed by 9", node="bad"))
    assert any(isinstance(action, Say) for action in actions) and Start(frozenset({"bad"})) in actions
    assert not [action for action in driver.handle(4, Died("no other node has room", "usage")) if isinstance(action, Start | Abort)]
    done(driver, 0, receipt(0))
    (start,) = (action for action in driver.handle(0, Died("another way", node="good")) if isinstance(action, Start))
    assert start.avoid == {"bad"}


def test_deaths_on_a_node_that_is_barred_since_do_not_end_the_run() -> None:
    """They were the node's fault. Once, the next death ended the run with 33, and every run after it in the same way. The simulator's seed 21606."""
    driver = started(3, workers=2)
    driver.handle(0, ready(node="good"))
    for worker in (1, 2, 3):
        driver.handle(worker, Died("killed by 9", node="bad"))
    driver.handle(4, Died("no other node has room", "usage"))
    actions = driver.handle(0, Died("killed by 9", node="good"))
    assert [type(action) for action in actions] == [Start]
    driver.handle(5, ready(node="good"))
    for worker, error in ((5, "a"), (6, "b"), (7, "c"), (8, "d")):
        driver.handle(worker, ready(node="good"))
        actions = driver.handle(worker, Died(error, node="good"))
        assert not any(isinstance(action, Abort) for action in actions), "each had work in hand: that may be the cause"


def test_deaths_of_different_ways_or_with_a_receipt_between_bar_no_node() -> None:
    driver = started(9, workers=2)
    driver.handle(0, ready())
    for worker, error in enumerate(("a", "b", "c", "a", "b"), 1):
        assert driver.handle(worker, Died(error)) == [Start()]
        done(driver, 0, receipt(worker))
    for worker in (6, 7, 8):
        driver.handle(0, receipt(worker))
        assert not any(isinstance(action, Abort | Say) for action in driver.handle(worker, Died("a")))


def test_bad_data_counts_where_two_workers_fail_on_it() -> None:
    driver = started(9, workers=2)
    driver.handle(0, ready())
    driver.handle(1, ready())
    actions = driver.handle(0, Failed(0, "bad_data", "broken"))
    assert submitted(actions) == [(0, 4)], "another worker looks at it"
    assert submitted(done(driver, 1, receipt(2))) == [(1, 0)]
    driver.handle(1, Failed(0, "bad_data", "broken"))
    assert 0 not in driver.remaining


def test_rows_are_isolated_once_another_worker_failed_or_where_there_is_one_alone() -> None:
    (task,) = (action.task for action in started(1).handle(0, ready()) if isinstance(action, Submit))
    assert task.isolate
    driver = started(4, workers=2, queued=1)
    assert [action.task.isolate for worker in (0, 1) for action in driver.handle(worker, ready()) if isinstance(action, Submit)] == [False, False]
    driver.handle(0, Failed(0, "engine", "nan"))
    (task,) = (action.task for action in done(driver, 1, receipt(1)) if isinstance(action, Submit))
    assert (task.partition.number, task.isolate) == (0, True)


@pytest.mark.parametrize("committed", [False, True])
def test_no_worker_left_is_transient_where_something_was_committed(committed: bool) -> None:
    driver = started(9, when_lost="; call your own code by hand")
    driver.handle(0, ready(node="a"))
    if committed:
        done(driver, 0, receipt(0))
    driver.handle(0, Died("x", node="a"))
    for worker in range(1, 4):
        driver.handle(worker, Died("y", node="b"))
    (abort,) = driver.handle(4, Died("no other node has room", "usage"))
    assert isinstance(abort, Abort) and isinstance(abort.error, Interrupted if committed else UsageError)
    assert "no worker is left: b: 3 workers died there the same way" in str(abort.error)
    assert ("; call your own code by hand" in str(abort.error)) == (not committed)


def test_a_worker_whose_work_stands_still_is_replaced_and_its_partitions_go_to_others() -> None:
    driver = started(4, workers=2, stall_s=5.0)
    driver.handle(0, ready(), 0.0)
    driver.handle(1, ready(), 0.0)
    driver.handle(1, Progress(2, "encode", 1, 1, 0.0), 4.0)
    driver.handle(0, Alive(), 4.0)
    assert driver.tick(4.9) == [], "a sign of life is no progress, and five seconds are not over"
    actions = driver.tick(5.0)
    assert actions[0] == Stop(0) and isinstance(actions[1], Say) and Start() in actions and driver.tick(5.1) == []
    assert submitted(driver.handle(2, ready(), 5.2)) == [(2, 1)], "what waited behind it is no suspect"
    assert submitted(done(driver, 2, receipt(1))) == [(2, 0)], "and what it stood still on is alone"


def test_what_is_said_of_a_partition_that_stands_still_on_each_worker() -> None:
    driver = Answered([partition(0)], (), workers=1, stall_s=5.0, when_still="raise the limit")
    driver.start()
    said = list[str]()
    for worker in range(3):
        driver.handle(worker, ready(), 10.0 * worker)
        actions = driver.tick(10.0 * worker + 5.0)
        said += [action.message for action in actions if isinstance(action, Say)]
    (finish,) = (action for action in actions if isinstance(action, Finish))
    assert all("made no progress for 5 s (workers.partition_stall_s) and is replaced" in words for words in said) and len(said) == 3
    words = "its worker made no progress with it for 5 s (workers.partition_stall_s), 3 times, at the end with nothing else to do: raise the limit"
    assert [failed.message for failed in finish.failures] == [f"{describe_partition(partition(0))}: {words}"]


def test_idle_workers_repeat_what_is_slow_and_the_first_to_finish_wins() -> None:
    driver = started(4, workers=2, queued=1)
    driver.handle(0, ready(), 0.0)
    driver.handle(1, ready(), 0.0)
    for number, now_s in ((1, 1.0), (2, 2.0), (3, 3.0)):
        driver.handle(1, receipt(number), now_s)
        actions = driver.handle(1, Done(number), now_s)
    assert submitted(actions) == [(1, 0)], "it takes three times as long as the others did"
    assert driver.tick(4.0) == []
    assert driver.handle(1, receipt(0), 4.0) == [Commit(receipt(0)), Finish(())]


def test_nothing_is_repeated_that_is_not_slow() -> None:
    driver = started(4, workers=2, queued=1)
    driver.handle(0, ready(), 0.0)
    driver.handle(1, ready(), 0.0)
    for number in (1, 2):
        driver.handle(1, receipt(number), 1.0 * number)
        driver.handle(1, Done(number), 1.0 * number)
    driver.handle(0, receipt(0), 2.5)
    assert submitted(driver.handle(0, Done(0), 2.5)) == []
    assert driver.tick(4.0) == [] and submitted(driver.tick(4.5)) == [(0, 3)]


def test_a_worker_that_refuses_ends_the_job_where_there_is_no_other() -> None:
    (abort,) = started(5).handle(0, Died("no such model", "usage"))
    assert isinstance(abort, Abort) and isinstance(abort.error, UsageError)
    driver = started(5, workers=2)
    driver.handle(0, ready())
    assert driver.handle(1, Died("no kernel runs on this card", "usage")) == [], "the other one goes on, and it is not replaced"


def test_a_worker_of_another_fingerprint_does_not_work() -> None:
    def refuse(other: Ready) -> str | None:
        return None if other.precision == "float32" else f"precision is {other.precision}"

    driver = Answered([partition(number) for number in range(9)], (), workers=2, refuse=refuse)
    driver.start()
    driver.handle(0, ready())
    assert driver.handle(1, ready(precision="float16")) == [Stop(1)]
    assert submitted(done(driver, 0, receipt(0))) == [(0, 2)]


def test_a_late_receipt_counts_for_a_partition_that_was_given_up() -> None:
    driver = started(2)
    driver.handle(0, ready())
    driver.handle(0, Failed(0, "bad_data", "broken"))
    assert list(driver.remaining) == [1]
    assert committed(driver.handle(0, receipt(0))) == [(0, 0)]
    assert driver.handle(0, receipt(1))[-1] == Finish(())


def test_events_that_come_twice_change_nothing() -> None:
    driver = started(6, workers=2)
    driver.handle(0, ready())
    assert driver.handle(0, ready()) == []
    driver.handle(0, Died("x"))
    assert driver.handle(0, Died("x")) == [] and driver.handle(0, ready()) == []


def test_a_worker_is_replaced_without_a_look_at_all_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = list[int]()

    def begun(load: Workload) -> Collection[Work]:
        looked_at.append(len(load._begun))
        return load._begun.values()

    monkeypatch.setattr(Workload, "begun", property(begun))
    driver = started(600, workers=2)
    for worker in range(250):
        driver.handle(worker, ready(node=f"node-{worker}"))
        assert Start() in driver.handle(worker, Died("lost", node=f"node-{worker}"))
    assert len(driver._load._begun) == 500 and max(looked_at, default=0) <= 2, "suspects wait, and each new worker had fresh ones"
