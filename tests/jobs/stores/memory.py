"""A dataset's folder in memory: the files that are published, and nothing else. Reliable; the simulation has a store that is not."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import uuid
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from embermill.jobs.storage import AlreadyExists, FileInfo

IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class MemoryFolder:
    """files: name -> content. Temporary files lie in a folder of the machine's."""

    root = "memory"

    def __init__(self, files: dict[str, bytes] | None = None, modified_s: float = 1.0) -> None:
        self.files = {} if files is None else files
        self.modified_s = modified_s
        self._temporary: Path | None = None

    def require_writable(self) -> None:
        pass

    def creates_only_if_absent(self) -> bool:
        return True

    def describe_endpoint(self) -> str:
        return self.root

    def list(self, prefix: str = "") -> Iterator[tuple[str, FileInfo]]:
        below = prefix.rstrip("/") + "/" if prefix else ""
        names = sorted(name for name in self.files if name.startswith(below))
        return iter([(name, FileInfo(name, len(self.files[name]), "", modified_s=self.modified_s)) for name in names])

    def exists(self, name: str) -> bool:
        return name in self.files

    def read(self, name: str) -> bytes:
        if name not in self.files:
            raise FileNotFoundError(name)
        return self.files[name]

    def open(self, name: str) -> BinaryIO:
        return io.BytesIO(self.read(name))

    def temporary(self, name: str) -> Path:
        if self._temporary is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="embermill-test-", dir=IN_MEMORY))
            weakref.finalize(self, shutil.rmtree, self._temporary, ignore_errors=True)
        return Path(self._temporary, f"{name.rpartition('/')[2]}.{uuid.uuid4().hex}")

    def publish(self, temporary: Path, name: str) -> None:
        self.create(name, temporary.read_bytes())
        temporary.unlink()

    def create(self, name: str, data: bytes) -> None:
        if name in self.files:
            raise AlreadyExists(name)
        self.files[name] = data

    def replace(self, name: str, data: bytes) -> None:
        self.files[name] = data

    def restore(self, temporary: Path, name: str) -> None:
        self.files[name] = temporary.read_bytes()
        temporary.unlink()

    def remove(self, name: str) -> None:
        self.files.pop(name, None)
