"""The bounded queue between two stages: neither waits for one that has left."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from embermill.jobs.worker.channel import Channel


def test_items_come_in_order_and_no_more_than_fit_are_ahead() -> None:
    channel, ahead, most = Channel[int](2), 0, 0
    lock = threading.Lock()

    def write() -> None:
        nonlocal ahead, most
        for number in range(500):
            assert channel.put(number)
            with lock:
                ahead += 1
                most = max(most, ahead)
        channel.finish()

    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(write)
        for expected, number in enumerate(channel):
            assert number == expected
            with lock:
                ahead -= 1
        written.result(timeout=20)
    assert expected == 499 and most <= 3  # two in it, and one that was taken and not counted yet


def test_what_is_there_can_be_read_once_the_writer_is_done_and_is_dropped_once_the_reader_is() -> None:
    channel: Channel[int] = Channel(2)
    assert channel.put(1) and channel.put(2)
    channel.finish()
    assert not channel.put(3) and list(channel) == [1, 2] and list(channel) == []
    channel = Channel(2)
    assert channel.put(1)
    channel.close()
    assert not channel.put(2) and list(channel) == []


@pytest.mark.parametrize("leave", [Channel.finish, Channel.close])
def test_whoever_waits_is_told(leave: Callable[[Channel[int]], None]) -> None:
    full, empty = Channel[int](1), Channel[int](1)
    assert full.put(1)
    with ThreadPoolExecutor(2) as pool:
        writer, reader = pool.submit(full.put, 2), pool.submit(list, empty)
        leave(full)
        leave(empty)
        assert writer.result(timeout=20) is False and reader.result(timeout=20) == []
