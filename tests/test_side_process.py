"""Processes beside this one: what they raise and how they end is told as it is, and close() is not kept waiting."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from pickle import PickleBuffer

import numpy as np
import pyarrow as pa
import pytest

from embermill.side_process import SideProcesses, SideProcessLost


def open_answers(first: str) -> Callable[[str], str]:
    """An answerer that says what it was opened with; or does worse things."""
    if first == "exit":
        raise SystemExit(3)

    def answer(question: str) -> str:
        if question == "exit":
            raise SystemExit(3)
        if question == "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        if question == "leave":
            os._exit(7)
        if question == "hold":  # for minutes, without once giving the interpreter up
            re.match(r"(a+)+b", "a" * 60)
        return f"{first} {question}"

    return answer


@pytest.fixture
def processes() -> SideProcesses:
    return SideProcesses("tests.test_side_process:open_answers", ("hello",), 1, name="answers")


def test_what_they_raise_and_how_they_end(processes: SideProcesses) -> None:
    assert processes.ask("world").result() == "hello world"
    with pytest.raises(RuntimeError, match="SystemExit: 3"):
        processes.ask("exit").result()
    for question, how in (("die", "by SIGSEGV"), ("leave", "with code 7")):
        with pytest.raises(SideProcessLost, match=how):
            processes.ask(question).result()
        assert processes.ask("again").result() == "hello again", "another one takes its place"
    processes.close()
    with pytest.raises(RuntimeError, match="closed"):
        processes.ask("world")


def test_what_cannot_be_opened_says_so_each_time() -> None:
    processes = SideProcesses("tests.test_side_process:open_answers", ("exit",), 1, name="answers")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="SystemExit: 3"):
            processes.ask("world").result()
    processes.close()


def test_closing_does_not_wait_for_one_that_holds_its_interpreter(processes: SideProcesses) -> None:
    processes.ask("world").result()
    (pid,) = processes.pids
    processes.ask("hold")
    time.sleep(0.3)
    begin = time.monotonic()
    processes.close()
    assert time.monotonic() - begin < 30 and not Path(f"/proc/{pid}").exists()


def open_doubling() -> Callable[..., tuple[np.ndarray, pa.Array, bytes]]:
    def double(numbers: np.ndarray, texts: pa.Array, raw: bytearray) -> tuple[np.ndarray, pa.Array, bytes]:
        numbers *= 2
        return numbers, pa.array([2 * text for text in texts.to_pylist()]), bytes(raw) * 2

    return double


@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_buffers_go_beside_what_is_pickled_and_may_be_written_to(size: int) -> None:
    """More than a pipe holds, and none at all."""
    processes = SideProcesses("tests.test_side_process:open_doubling", (), 1, name="doubling")
    numbers, texts, raw = np.arange(size), pa.array([f"text {number}" for number in range(size)], pa.string()), b"raw" * size
    doubled, twice, longer = processes.ask(numbers, texts, PickleBuffer(raw)).result()
    assert np.array_equal(doubled, 2 * np.arange(size)) and len(twice) == size and longer == raw + raw and [*twice[:1].to_pylist()] == ["text 0text 0"][:size]
    doubled += 1
    assert np.array_equal(numbers, np.arange(size)), "what was asked stays as it was"
    processes.close()
