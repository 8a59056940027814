"""An object store in memory, as a Folder: create-if-absent and replace are atomic, everything around them is not to be relied on."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from embermill.jobs.errors import Interrupted
from embermill.jobs.storage import AlreadyExists, FileInfo


class Faults:
    """All that goes wrong by chance, numbered from 1 as it comes. left_out: numbers of those that do not happen, to find out which ones matter."""

    def __init__(self, rng: random.Random, left_out: frozenset[int] = frozenset()) -> None:
        self._random, self._left_out = rng.random, left_out
        self.count = 0
        self.happened: list[int] = []
        self.tell: Callable[..., None] = lambda words, *about: None

    def strikes(self, chance: float, what: str) -> bool:
        if self._random() >= chance:
            return False
        self.count += 1
        if self.count in self._left_out:
            return False
        self.happened.append(self.count)
        self.tell("fault {}: {}", self.count, what)
        return True


@dataclass
class Store:
    """What stands, and what is on its way. trouble: chance of each mishap at each request."""

    rng: random.Random
    faults: Faults
    trouble: float = 0.0
    files: dict[str, bytes] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)  # created lately: a listing may not show them yet
    late: list[tuple[str, bytes]] = field(default_factory=list)  # puts that were given up by who sent them, and may still arrive
    created: list[str] = field(default_factory=list)

    def mishap(self) -> bool:
        return self.trouble > 0 and self.faults.strikes(self.trouble, "storage")

    def put_if_absent(self, name: str, data: bytes) -> bool:
        if name in self.files:
            return False
        self.files[name] = data
        self.created.append(name)
        self.fresh.append(name)
        return True

    def settle(self) -> None:
        """Time passes: listings catch up, and what was delayed arrives, in any order."""
        if self.fresh and self.rng.random() < 0.3:
            self.fresh.pop(0)
        if self.late and self.rng.random() < 0.2:
            self.put_if_absent(*self.late.pop(self.rng.randrange(len(self.late))))


class MemoryFolder:
    """One client's view of the store."""

    root = "memory"

    def __init__(self, store: Store) -> None:
        self.store = store

    def _request(self) -> None:
        if self.store.mishap():
            raise Interrupted("503")

    def require_writable(self) -> None:
        pass

    def list(self, prefix: str = "") -> Iterator[tuple[str, FileInfo]]:
        self._request()
        hidden = set(self.store.fresh) if self.store.mishap() else set()
        files = self.store.files
        return ((name, FileInfo(name, len(files[name]), "")) for name in sorted([name for name in files if name.startswith(prefix) and name not in hidden]))

    def exists(self, name: str) -> bool:
        self._request()
        return name in self.store.files

    def read(self, name: str) -> bytes:
        self._request()
        if name not in self.store.files:
            raise FileNotFoundError(name)
        return self.store.files[name]

    def open(self, name: str) -> BinaryIO:
        return io.BytesIO(self.read(name))

    def temporary(self, name: str) -> Path:
        raise NotImplementedError

    def publish(self, temporary: Path, name: str) -> None:
        raise NotImplementedError

    def create(self, name: str, data: bytes) -> None:
        if self.store.mishap():
            fate = self.store.rng.random()
            if fate < 0.3:  # on its way, and nobody waits for it any more
                self.store.late.append((name, data))
            elif fate < 0.6 and not self.store.put_if_absent(name, data):  # 409, or the answer is lost
                raise AlreadyExists(name)
            raise Interrupted("503")
        if not self.store.put_if_absent(name, data):
            raise AlreadyExists(name)

    def replace(self, name: str, data: bytes) -> None:
        self._request()
        self.store.files[name] = data

    def creates_only_if_absent(self) -> bool:
        return True

    def describe_endpoint(self) -> str:
        return self.root

    def restore(self, temporary: Path, name: str) -> None:
        raise NotImplementedError

    def remove(self, name: str) -> None:
        self._request()
        self.store.files.pop(name, None)
