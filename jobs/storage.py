"""The only room that knows where corpus and dataset lie: a local folder or an object store (s3://, gs://, az://).

Names inside a Folder are relative, "/"-separated. Publishing is atomic and create-if-absent everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol


@dataclass(frozen=True)
class FileInfo:
    """One file as it was listed. path: absolute path or URL. version: mtime in ns (local) or etag (object store)."""

    path: str
    size: int
    version: str


class AlreadyExists(Exception):
    """Somebody else published that name first: look at what is there before believing it."""


class Folder(Protocol):
    """A dataset's root. `root` is an absolute path or a URL."""

    root: str

    def list(self, prefix: str = "") -> Iterator[tuple[str, FileInfo]]:
        """(name, info) of every file under the prefix, sorted by name; nothing where there is no such folder."""
        ...

    def exists(self, name: str) -> bool: ...
    def read(self, name: str) -> bytes: ...
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

    def remove(self, name: str) -> None: ...
