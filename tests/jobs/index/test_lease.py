"""The lease among a server's metadata: of several loaders one, and a lost one does not hold others up for ever."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from embermill.jobs.errors import AnotherRun
from embermill.jobs.index import lease
from embermill.jobs.index.lease import Holder, Lease, read_holder


class Place:
    """A server's metadata."""

    text: str | None = None

    def read(self) -> str | None:
        return self.text

    def write(self, text: str) -> None:
        self.text = text

    def lease(self) -> Lease:
        return Lease("docs", self.read, self.write)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("SETTLE_S", 0.1), ("BEAT_S", 0.02), ("GONE_S", 0.3), ("LOOK_EVERY_S", 0.01)):
        monkeypatch.setattr(lease, name, seconds)


def test_of_several_at_once_one_goes_on() -> None:
    place, held, refused = Place(), list[Lease](), list[AnotherRun]()

    def load() -> None:
        mine = place.lease()
        try:
            mine.acquire()
            held.append(mine)
        except AnotherRun as error:
            refused.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(held), len(refused)) == (1, 3)
    with pytest.raises(AnotherRun, match=r"docs: another `embermill load` is at work on it \(process "):
        place.lease().acquire()
    held[0].require()
    held[0].release()
    again = place.lease()
    again.acquire()
    again.release()
    assert place.text == ""


def test_a_process_of_this_host_that_ended_is_not_waited_for() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    place = Place()
    place.text = Holder(pid=ended.pid).to_text()
    began = time.monotonic()
    place.lease().acquire()
    assert time.monotonic() - began < lease.GONE_S


def test_one_on_another_host_is_watched_until_it_is_surely_gone() -> None:
    place = Place()
    place.text = Holder(host="elsewhere").to_text()
    began = time.monotonic()
    mine = place.lease()
    mine.acquire()
    assert time.monotonic() - began >= lease.GONE_S
    mine.release()


def test_one_that_beats_on_another_host_refuses() -> None:
    place, there = Place(), Holder(host="elsewhere")
    place.text = there.to_text()
    threading.Timer(0.05, lambda: place.write(replace(there, beat=1).to_text())).start()
    with pytest.raises(AnotherRun, match="on elsewhere"):
        place.lease().acquire()
    assert read_holder(place.text) == replace(there, beat=1)


def test_who_lost_it_stops_and_leaves_it_alone() -> None:
    place = Place()
    mine = place.lease()
    mine.acquire()
    other = Holder(host="elsewhere").to_text()
    place.write(other)
    until = time.monotonic() + 5
    with pytest.raises(AnotherRun, match="took it over"):
        while time.monotonic() < until:
            mine.require()
            time.sleep(0.01)
    mine.release()
    assert place.text == other


@pytest.mark.parametrize("text", ["", None, "{", "[1]", '{"pid": 1, "what": 2}'])
def test_what_is_no_lease_is_free(text: str | None) -> None:
    place = Place()
    place.text = text
    mine = place.lease()
    mine.acquire()
    mine.release()

