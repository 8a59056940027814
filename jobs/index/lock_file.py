"""One loader at a time into what lies in a folder of this machine: a file that is locked while it works, and free again however it ends."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from embermill.jobs.errors import AnotherRun


class LockFile:
    """path: of the lock, beside what it guards. It stays there: removing it would let two hold it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def acquire(self) -> None:
        """AnotherRun where another process, or another instance in this one, has it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise AnotherRun(f"{self._path}: another `embermill load` is at work on this target") from None
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
