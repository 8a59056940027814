"""An address in this machine's file system, as a path."""

from __future__ import annotations

import os
from pathlib import Path

from embermill.jobs.errors import UsageError


def local_path(address: str) -> Path:
    """With `~` as the home folder. UsageError for what no path can be: a user that is not there, a zero byte."""
    try:
        if b"\0" in os.fsencode(address):
            raise UsageError(f"{address!r}: expected a path or a URL, got a name with a zero byte in it")
        return Path(address).expanduser()
    except UnicodeEncodeError:
        raise UsageError(f"{address!r}: expected a path or a URL, got a name that is not valid Unicode") from None
    except RuntimeError:
        raise UsageError(f"{address}: there is no user {address.split('/')[0][1:]!r} whose home folder that could be: give an absolute path") from None


def is_there(path: Path) -> bool:
    """False also for a name that no file can have, one that is too long say, which pathlib raises for."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def real_path(address: str) -> Path:
    """The same, absolute and without links, so that two names of one file are one. UsageError where its links lead in a circle, too."""
    try:
        return local_path(address).resolve()
    except (RuntimeError, OSError):
        raise UsageError(f"{address}: its symbolic links lead in a circle, or its name is none that a file can have: choose another place") from None
