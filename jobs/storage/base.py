"""What a file and a dataset's folder look like, wherever they lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from embermill.jobs.errors import DataError


@dataclass(frozen=True)
class FileInfo:
    """One file as it was listed. path: absolute path or URL. version: mtime in ns (local) or etag (object store); "" for one that could not be looked at.

    modified_s: when it was last written, in seconds since 1970; 0 where that is not known.
    identity: what a program that sets a time back cannot set, CTIME_NS:INODE of a local file; "" of an object, whose etag says enough.
    """

    path: str
    size: int
    version: str
    identity: str = ""
    modified_s: float = field(default=0.0, compare=False)


class AlreadyExists(Exception):
    """Somebody else published that name first: look at what is there before believing it."""


def require_inside(root: str, name: str) -> None:
    """DataError for a name, read from some file of a dataset, that leads out of it."""
    if not name or name.startswith("/") or "\0" in name or any(part in ("", ".", "..") for part in name.rstrip("/").split("/")):
        raise DataError(f"{root}: a name that leads out of the dataset stands in its files: {name[:200]!r}: restore them from a copy")


class InputFile(Protocol):
    """A corpus file, open for reading as it was planned. A seekable binary file for pyarrow, with one more promise: `check`."""

    size: int

    def read(self, size: int = -1, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...
    def close(self) -> None: ...
    def check(self) -> None:
        """Raise InputChanged unless all that was read so far is of the version that was planned: call it before handing rows on."""
        ...


class Folder(Protocol):
    """A dataset's root. `root` is an absolute path or a URL. Names inside are relative and "/"-separated.

    What the storage refuses is a UsageError where only a person can fix it, else Interrupted (failures.py).
    """

    root: str

    def require_writable(self) -> None:
        """UsageError where it can be seen beforehand that nothing can be written here. Leaves nothing behind."""
        ...

    def creates_only_if_absent(self) -> bool:
        """Try out whether `create` refuses a name that is taken; leaves nothing behind."""
        ...

    def describe_endpoint(self) -> str:
        """Where the storage is, for a person to recognise; without credentials."""
        ...

    def list(self, prefix: str = "") -> Iterator[tuple[str, FileInfo]]:
        """(name, info) of every file below the folder `prefix`, sorted by name; nothing where there is no such folder."""
        ...

    def exists(self, name: str) -> bool: ...
    def read(self, name: str) -> bytes:
        """FileNotFoundError where there is none."""
        ...

    def open(self, name: str) -> BinaryIO:
        """A seekable binary file, for pyarrow to read from. FileNotFoundError where there is none."""
        ...

    def temporary(self, name: str) -> Path:
        """A fresh local path for an attempt at `name`, unique to this process; on a local dataset under `_embermill/tmp/`."""
        ...

    def publish(self, temporary: Path, name: str) -> None:
        """Create `name` from a closed local file, durably, all or nothing, and remove the temporary. Raises AlreadyExists (temporary kept)."""
        ...

    def create(self, name: str, data: bytes) -> None:
        """The same from bytes. Raises AlreadyExists."""
        ...

    def replace(self, name: str, data: bytes) -> None:
        """Overwrite: only for files of no authority (heartbeat.json)."""
        ...

    def restore(self, temporary: Path, name: str) -> None:
        """Put a closed local file in the place of a damaged or missing one, durably, and remove the temporary. For `repair` alone, which has checked it."""
        ...

    def remove(self, name: str) -> None:
        """Remove it, if it is there."""
        ...


def restore_bytes(folder: Folder, name: str, data: bytes) -> None:
    """`restore` from bytes."""
    temporary = folder.temporary(name)
    temporary.write_bytes(data)
    folder.restore(temporary, name)
