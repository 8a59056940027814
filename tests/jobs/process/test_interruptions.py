"""Ctrl-C waits for the end of what must not be interrupted; a second one does not."""

from __future__ import annotations

import signal

import pytest

from embermill.jobs.process.interruptions import uninterrupted


def test_it_is_raised_at_the_end() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        signal.raise_signal(signal.SIGINT)
        done.append("the rest")
    assert done and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_one_is_raised_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it goes on")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_of_the_block_is_not_hidden() -> None:
    with pytest.raises(ValueError), uninterrupted():
        signal.raise_signal(signal.SIGINT)
        raise ValueError
