"""A small process beside the driver of a private Ray: when the driver is gone, however it went, what it started is ended and its folder is removed.

Ray's own two agents would live on for a minute after a SIGKILL of the driver. Run as a script, with the standard library alone:

    python reaper.py HOME       waits for the end of its standard input, whose other end the driver alone holds, and writes a word once it is done
Every process of the session carries MARK=HOME in its environment. Where there is no /proc only the folder is removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

MARK = "EMBERMILL_RAY_HOME"
GIVE_UP_AFTER_S = 8.0
AGAIN = b"again"  # on standard input: also when the driver has ended, which it is about to
AGAIN_WITHIN_S = 30.0


def marked(home: str, *, but: int = 0) -> list[int]:
    """Processes of that session, less this one and `but`: by their environment or, where they have written their title over it, by what they have open."""
    mark = f"{MARK}={home}".encode()
    pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if pid not in (os.getpid(), but) and _is_of(pid, home, mark)]


def _is_of(pid: int, home: str, mark: bytes) -> bool:
    folder = Path(f"/proc/{pid}")
    try:
        if mark in folder.joinpath("environ").read_bytes().split(b"\0"):
            return True
        return any(str(link.readlink()).startswith(home) for link in (folder / "cwd", *folder.joinpath("fd").iterdir()))
    except OSError:  # it is gone, or somebody else's
        return False


def reap(home: str, driver: int) -> None:
    """End them, those too that one of them starts meanwhile, and remove the folder. The driver, which has files of the session open, may well live on."""
    end_s = time.monotonic() + GIVE_UP_AFTER_S
    while (pids := marked(home, but=driver)) and time.monotonic() < end_s:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        time.sleep(0.05)
    shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # it ends when the driver has ended, not with it
        signal.signal(number, signal.SIG_IGN)
    parent = os.getppid()
    again = sys.stdin.buffer.read() == AGAIN
    reap(sys.argv[1], parent)
    with contextlib.suppress(OSError):
        os.write(1, b"done")
    end_s = time.monotonic() + AGAIN_WITHIN_S
    while again and os.getppid() == parent and time.monotonic() < end_s:
        time.sleep(0.05)
    if again:
        reap(sys.argv[1], parent)
