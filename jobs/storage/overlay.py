"""A dataset's folder as it would be: what is written goes to a folder of this machine, and is read before what is in the dataset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from embermill.jobs.storage.base import AlreadyExists, FileInfo, Folder
from embermill.jobs.storage.local import LocalFolder


class Overlay:
    """A Folder. `below` is never written to."""

    def __init__(self, below: Folder, scratch: Path) -> None:
        self.below, self._above, self.root = below, LocalFolder(str(scratch)), below.root
        self._gone: set[str] = set()

    def require_writable(self) -> None:
        pass

    def creates_only_if_absent(self) -> bool:
        return True

    def describe_endpoint(self) -> str:
        return self.below.describe_endpoint()

    def list(self, prefix: str = "") -> Iterator[tuple[str, FileInfo]]:
        found = {name: info for name, info in self.below.list(prefix) if name not in self._gone} | dict(self._above.list(prefix))
        yield from sorted(found.items())

    def exists(self, name: str) -> bool:
        return self._above.exists(name) or (name not in self._gone and self.below.exists(name))

    def read(self, name: str) -> bytes:
        return self._of(name).read(name)

    def open(self, name: str) -> BinaryIO:
        return self._of(name).open(name)

    def temporary(self, name: str) -> Path:
        return self._above.temporary(name)

    def publish(self, temporary: Path, name: str) -> None:
        self._require_absent(name)
        self._above.publish(temporary, name)

    def create(self, name: str, data: bytes) -> None:
        self._require_absent(name)
        self._above.create(name, data)

    def replace(self, name: str, data: bytes) -> None:
        self._above.replace(name, data)

    def restore(self, temporary: Path, name: str) -> None:
        self._above.restore(temporary, name)

    def remove(self, name: str) -> None:
        self._above.remove(name)
        self._gone.add(name)

    def _of(self, name: str) -> Folder:
        """FileNotFoundError where it was removed here."""
        if self._above.exists(name):
            return self._above
        if name in self._gone:
            raise FileNotFoundError(f"{self.root}/{name}")
        return self.below

    def _require_absent(self, name: str) -> None:
        if name not in self._gone and self.below.exists(name):
            raise AlreadyExists(name)
