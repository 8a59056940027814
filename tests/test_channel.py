"""The bounded queue between two stages: neither waits for one that has left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from embermill.channel import Channel, ChannelClosed


def test_a_channel_that_is_full_makes_the_writer_wait() -> None:
    channel: Channel[int] = Channel(2)
    written: list[int] = []

    def write() -> None:
        for number in range(5):
            channel.put(number)
            written.append(number)
        channel.finish()

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.05)
    assert written == [0, 1]
    assert [channel.get() for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ChannelClosed):
        channel.get()
    writer.join()


def test_a_channel_tells_both_sides() -> None:
    channel: Channel[int] = Channel(1)
    with pytest.raises(TimeoutError):
        channel.get(timeout_s=0)
    channel.put(1)
    channel.close()
    with pytest.raises(ChannelClosed):
        channel.put(2)
    with pytest.raises(ChannelClosed):
        channel.get()


def test_items_come_in_order_and_no_more_than_fit_are_ahead() -> None:
    channel, ahead, most = Channel[int](2), 0, 0
    lock = threading.Lock()

    def write() -> None:
        nonlocal ahead, most
        for number in range(500):
            assert channel.offer(number)
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
    assert channel.offer(1) and channel.offer(2)
    channel.finish()
    assert not channel.offer(3) and list(channel) == [1, 2] and list(channel) == []
    channel = Channel(2)
    assert channel.offer(1)
    channel.close()
    assert not channel.offer(2) and list(channel) == []


@pytest.mark.parametrize("leave", [Channel.finish, Channel.close])
def test_whoever_waits_is_told(leave: Callable[[Channel[int]], None]) -> None:
    full, empty = Channel[int](1), Channel[int](1)
    assert full.offer(1)
    with ThreadPoolExecutor(2) as pool:
        writer, reader = pool.submit(full.offer, 2), pool.submit(list, empty)
        leave(full)
        leave(empty)
        assert writer.result(timeout=20) is False and reader.result(timeout=20) == []
