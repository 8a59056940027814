"""Ctrl-C waits for the end of what must not be interrupted; a second one does not."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from embermill.jobs.process.interruptions import uninterrupted

ROOT = Path(__file__).parent.parent.parent.parent


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


WAY_OUT = """
import signal, sys
from embermill.jobs import cli

def interrupt(frame, event, argument):
    global left
    if frame.f_code.co_filename != cli.__file__ or frame.f_code.co_name not in ("entry", "_answered", "_heed_no_more"):
        return None
    left -= event == "line"
    if left == 0:
        left = -1
        sys.settrace(None)
        signal.raise_signal(signal.SIGINT)
    return interrupt

left, cli.main = int(sys.argv[1]), lambda first: 33
sys.settrace(interrupt)
cli.entry()
"""


def test_the_way_out_ends_with_an_exit_code_wherever_ctrl_c_comes() -> None:
    """At each line of it, from within its `try` on: of a command that was interrupted before and has said so."""
    codes = list[int]()
    for line in range(3, 20):
        done = subprocess.run([sys.executable, "-c", WAY_OUT, str(line)], cwd=ROOT, capture_output=True, text=True)
        codes.append(done.returncode)
        assert "Traceback" not in done.stderr, (line, done.stderr)
    assert set(codes) == {33}
