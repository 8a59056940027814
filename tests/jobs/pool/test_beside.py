"""Opened by a thread of its own and closed by the same one, whoever fails and whenever one leaves."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest

from embermill.jobs.pool.beside import Beside, Unwanted

DEADLINE_S = 20.0


class Door:
    """Opens when it is let. What was done, and by which threads."""

    def __init__(self, fails: str = "") -> None:
        self.done: list[str] = []
        self.threads: set[int] = set()
        self.let, self.begun = threading.Event(), threading.Event()
        self._fails = fails

    @contextlib.contextmanager
    def open(self, step: Callable[[], None]) -> Iterator[None]:
        self._do("begun")
        self.begun.set()
        assert self.let.wait(DEADLINE_S)
        try:
            step()
        except Unwanted:
            self._do("given up")
            raise
        self._do("opened")
        try:
            yield
        finally:
            self._do("closed")

    def _do(self, what: str) -> None:
        self.done.append(what)
        self.threads.add(threading.get_ident())
        if what == self._fails:
            raise OSError(f"the door cannot be {what}")


def test_it_is_opened_meanwhile_and_closed_by_the_same_thread() -> None:
    door = Door()
    with Beside(door.open) as beside:
        beside.begin()
        assert door.begun.wait(DEADLINE_S) and not beside.seconds is not None and door.done == ["begun"], "its owner goes on"
        door.let.set()
        beside.wait()
        beside.wait()
        assert beside.seconds is not None and door.done == ["begun", "opened"]
        assert beside.seconds[0] <= beside.seconds[1]
    assert door.done == ["begun", "opened", "closed"]
    assert len(door.threads) == 1 and threading.get_ident() not in door.threads


def test_who_asks_without_having_begun_it_waits_for_all_of_it() -> None:
    door = Door()
    door.let.set()
    with Beside(door.open) as beside:
        beside.wait()
        assert door.done == ["begun", "opened"]


def test_what_nobody_begins_is_never_opened() -> None:
    door = Door()
    with Beside(door.open):
        pass
    assert door.done == []


def test_who_leaves_before_it_is_open_waits_for_no_further_step_and_hears_his_own_error() -> None:
    door = Door()
    with pytest.raises(ValueError, match="a model that is none"), Beside(door.open) as beside:
        beside.begin()
        assert door.begun.wait(DEADLINE_S)
        threading.Timer(0.05, door.let.set).start()
        raise ValueError("a model that is none")
    assert door.done == ["begun", "given up"], "and it has ended by then"


def test_an_opening_that_fails_is_told_to_who_waits_for_it() -> None:
    door = Door(fails="opened")
    door.let.set()
    with pytest.raises(OSError, match="cannot be opened"), Beside(door.open) as beside:
        beside.wait()
    assert door.done == ["begun", "opened"]


def test_an_opening_that_fails_is_nothing_to_who_has_failed_himself_or_never_asks() -> None:
    door = Door(fails="begun")
    with Beside(door.open) as beside:
        beside.begin()
    with pytest.raises(ValueError), Beside(Door(fails="begun").open) as beside:
        beside.begin()
        raise ValueError
    assert door.done == ["begun"]


def test_a_closing_that_fails_is_told_unless_something_else_went_wrong_before() -> None:
    for error, told in ((None, OSError), (ValueError("first"), ValueError)):
        door = Door(fails="closed")
        door.let.set()
        with pytest.raises(told), Beside(door.open) as beside:
            beside.wait()
            if error is not None:
                raise error
        assert door.done == ["begun", "opened", "closed"]


def test_what_is_to_be_done_then_is_done_by_the_same_thread_before_anybody_waited() -> None:
    door, threads = Door(), list[int]()
    with Beside(door.open) as beside:
        beside.begin()
        assert door.begun.wait(DEADLINE_S)
        beside.then(lambda: threads.append(threading.get_ident()))
        assert threads == [], "it is not open yet"
        door.let.set()
        beside.wait()
        assert threads == [*door.threads]
        beside.then(lambda: threads.append(threading.get_ident()))
        beside.wait()
        assert threads == [*door.threads] * 2, "also once it is open"
    assert door.done == ["begun", "opened", "closed"]


def test_what_fails_then_is_told_to_who_waits_and_closes_it() -> None:
    door = Door()
    door.let.set()
    with pytest.raises(ZeroDivisionError), Beside(door.open) as beside:
        beside.then(lambda: print(1 // 0))
        beside.wait()
    assert door.done == ["begun", "opened", "closed"]


def test_what_is_to_be_done_then_is_left_where_nobody_stays() -> None:
    door = Door()
    with Beside(door.open) as beside:
        beside.begin()
        assert door.begun.wait(DEADLINE_S)
        beside.then(lambda: pytest.fail("nobody wants it any more"))
        threading.Timer(0.05, door.let.set).start()
    assert door.done == ["begun", "given up"]
