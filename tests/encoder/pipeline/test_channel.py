"""The bounded queue: neither side waits for one that has left."""

from __future__ import annotations

import threading
import time

import pytest

from embermill.encoder.pipeline.channel import Channel, ChannelClosed


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
