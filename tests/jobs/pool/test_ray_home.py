"""The folder of a private Ray is gone with the process that made it, wherever Ctrl-C found that."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent.parent
SWEEP = """
import os, sys
from embermill.jobs.pool import ray_home

def interrupt(frame, event, argument):
    global left
    if frame.f_code.co_filename != ray_home.__file__ or frame.f_code.co_name == "_end":
        return None
    left -= 1
    if left == 0:
        sys.settrace(None)
        raise KeyboardInterrupt
    return interrupt

for line in range(1, 200):
    if os.fork() == 0:
        left = line
        sys.settrace(interrupt)
        try:
            with ray_home.ray_home():
                pass
        except KeyboardInterrupt:
            os._exit(0)
        finally:
            os._exit(1)
    if os.waitstatus_to_exitcode(os.wait()[1]):
        break
print(line - 1)
"""
LATE = """
import os, threading, time
from embermill.jobs.pool.ray_home import ray_home

def put(home):
    while home.exists():
        time.sleep(0.005)
    (home / "r/session").mkdir(parents=True)
    os._exit(33)

try:
    with ray_home() as home:
        threading.Thread(target=put, args=(home,)).start()
        raise KeyboardInterrupt
finally:
    time.sleep(20)
"""


@pytest.fixture
def short() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def said_by(script: str, short: Path) -> tuple[int, str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(short)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def is_empty_soon(folder: Path) -> bool:
    end_s = time.monotonic() + 30
    while any(folder.iterdir()) and time.monotonic() < end_s:
        time.sleep(0.05)
    return not any(folder.iterdir())


def test_interrupted_at_any_of_its_lines(short: Path) -> None:
    code, said = said_by(SWEEP, short)
    assert code == 0 and 8 < int(said) < 199, said
    assert is_empty_soon(short), [*short.iterdir()]


def test_a_thread_that_was_given_up_puts_something_there_afterwards(short: Path) -> None:
    code, said = said_by(LATE, short)
    assert code == 33, said
    assert is_empty_soon(short), [*short.rglob("*")]
