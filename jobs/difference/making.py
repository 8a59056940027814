"""A version that is being made, as a dataset of its own: plan, commits, shards and quarantine are written by the code that a run uses, under other names.

    data/         changes/000002/upserts/
    quarantine/   quarantine/000002/
    _embermill/   _embermill/sync/000002/
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from embermill.jobs.storage import FileInfo, Folder

SYNC = "_embermill/sync"
CHANGES = "changes"


def upserts_of(version: int) -> str:
    return f"{CHANGES}/{version:06d}/upserts"


def deletes_of(version: int) -> str:
    return f"{CHANGES}/{version:06d}/deletes"


def sync_folder(version: int) -> str:
    return f"{SYNC}/{version:06d}"


def imports_of(version: int) -> str:
    """Vectors that were made elsewhere, as they were read for that version."""
    return f"{sync_folder(version)}/imports"


def texts_of(version: int) -> str:
    """Of a dataset of chunks: shards of the texts that were embedded for that version, from which its documents take their vectors."""
    return f"{sync_folder(version)}/texts"


def is_import(name: str) -> bool:
    """Whether a file holds such vectors, of float32."""
    return name.startswith(f"{SYNC}/") and "/imports/" in name


class VersionFolder:
    """A Folder within the dataset's. Names are those of a run; `place` says what they are in the dataset."""

    def __init__(self, dataset: Folder, version: int) -> None:
        self.dataset, self.version, self.root = dataset, version, dataset.root
        self._places = self._within(version)

    @staticmethod
    def _within(version: int) -> dict[str, str]:
        return {"data": upserts_of(version), "quarantine": f"quarantine/{version:06d}", "_embermill": sync_folder(version)}

    def place(self, name: str) -> str:
        """The name within the dataset. KeyError for one that no run writes."""
        first, slash, rest = name.partition("/")
        return self._places[first] + slash + rest

    def require_writable(self) -> None:
        self.dataset.require_writable()

    def creates_only_if_absent(self) -> bool:
        return self.dataset.creates_only_if_absent()

    def describe_endpoint(self) -> str:
        return self.dataset.describe_endpoint()

    def list(self, prefix: str = "") -> Iterator[tuple[str, FileInfo]]:
        for first in [prefix.partition("/")[0]] if prefix else sorted(self._places):
            place = self._places[first]
            for name, info in self.dataset.list(self.place(prefix) if prefix else place):
                yield first + name.removeprefix(place), info

    def exists(self, name: str) -> bool:
        return self.dataset.exists(self.place(name))

    def read(self, name: str) -> bytes:
        return self.dataset.read(self.place(name))

    def open(self, name: str) -> BinaryIO:
        return self.dataset.open(self.place(name))

    def temporary(self, name: str) -> Path:
        return self.dataset.temporary(self.place(name))

    def publish(self, temporary: Path, name: str) -> None:
        self.dataset.publish(temporary, self.place(name))

    def create(self, name: str, data: bytes) -> None:
        self.dataset.create(self.place(name), data)

    def replace(self, name: str, data: bytes) -> None:
        self.dataset.replace(self.place(name), data)

    def restore(self, temporary: Path, name: str) -> None:
        self.dataset.restore(temporary, self.place(name))

    def remove(self, name: str) -> None:
        self.dataset.remove(self.place(name))


class TextsFolder(VersionFolder):
    """Where texts are embedded that documents of the version take their vectors from; what stands there goes with the commit."""

    @staticmethod
    def _within(version: int) -> dict[str, str]:
        return {"data": f"{texts_of(version)}/data", "quarantine": f"{texts_of(version)}/quarantine", "_embermill": f"{texts_of(version)}/_embermill"}


def clear_steps(folder: Folder, number: int) -> None:
    """Scans and differences, cuts and texts have done their work, once version `number` is committed."""
    for part in ("scan", "difference", "imports", "cut", "texts"):
        for name, _ in [*folder.list(f"{sync_folder(number)}/{part}")]:
            folder.remove(name)
