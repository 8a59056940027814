"""Where a private Ray keeps its sockets, packages and logs: a folder that this user alone can enter, and that is gone when the job is.

Ray would put them under /tmp/ray, which every user of the machine can write to, and whose packages its workers run.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from embermill.jobs.dataset.metadata.liveness import this_process
from embermill.jobs.errors import UsageError
from embermill.jobs.pool import reaper

PREFIX = "embermill-ray-"
OWNER = "owner.json"  # in the folder: whose it is, so that `gc` can tell what a dead driver left
LONGEST_SOCKET = 103  # bytes of a socket's path: 107 on Linux, 103 on macOS
BELOW_HOME = len("/r/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")
CLOSING_S = 12.0
_LEFT_BEHIND: list[subprocess.Popen[bytes]] = []  # reapers that end after this process


@contextlib.contextmanager
def ray_home() -> Iterator[Path]:
    """The folder, with permissions 0700; Ray's own folder is `r` in it. It and every process that carries its mark are gone at the end, or at ours.

    Ctrl-C may come at any moment: who removes the folder is there before it is. And where it comes, the thread that starts Ray may have been given up
    (beside.py) and still put something there, so the reaper looks once more when this process has ended.
    """
    home = Path(_short_folder(), f"{PREFIX}{secrets.token_hex(4)}")
    watching, interrupted = _watch(home), False
    try:
        home.mkdir(0o700)
        (home / OWNER).write_text(json.dumps(this_process()))
        yield home
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        _end(watching, interrupted)


def _watch(home: Path) -> subprocess.Popen[bytes]:
    """The reaper: it goes to work when its standard input ends, with this process at the latest."""
    return subprocess.Popen(
        [sys.executable, reaper.__file__, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )


def _end(watching: subprocess.Popen[bytes], interrupted: bool) -> None:
    """Until it is done, for the first time if interrupted."""
    assert watching.stdin is not None and watching.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # somebody has killed it
        if interrupted:
            watching.stdin.write(reaper.AGAIN)
        watching.stdin.close()
    select.select([watching.stdout], [], [], CLOSING_S)
    if interrupted:
        _LEFT_BEHIND.append(watching)
        return
    with contextlib.suppress(subprocess.TimeoutExpired):
        watching.wait(CLOSING_S)
    watching.stdout.close()


def _short_folder() -> str:
    """A folder for temporary files whose name leaves room for a socket's. UsageError where there is none."""
    room = LONGEST_SOCKET - BELOW_HOME - len("/" + PREFIX) - 8
    wanted = tempfile.gettempdir()
    for folder in (wanted, "/tmp", f"/run/user/{os.getuid()}", "/var/tmp", "/dev/shm"):
        if len(os.fsencode(folder)) <= room and os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise UsageError(
        f"TMPDIR: {wanted}: a private Ray keeps sockets there, whose names would be too long, and neither /tmp nor /var/tmp can be written: "
        f"set TMPDIR to a folder whose name has at most {room} characters"
    )
