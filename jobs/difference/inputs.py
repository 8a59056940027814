"""The corpus files that a version was made from, and how a listing differs from them. Pure: what is listed and when comes in.

A file keeps its number, by which the keys name it, for as long as it is there, under another name too; no number is used twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

import pyarrow as pa

from embermill.jobs.storage import FileInfo

Key = TypeVar("Key")
Value = TypeVar("Value")

RACY_S = 2.0  # the coarsest step in which file systems tell times


class State(StrEnum):
    SAME, RENAMED, NEW, CHANGED, GONE = "same", "renamed", "new", "changed", "gone"


@dataclass(frozen=True)
class CorpusFile:
    """One corpus file, as a version read it. version, identity: as FileInfo has them.

    quarantined: rows of it that were refused. shadowed: it holds a row whose id another file gives, so that a change elsewhere may bring it forth.
    """

    number: int
    path: str
    name: str
    size: int
    version: str
    identity: str
    quarantined: int = 0
    shadowed: bool = False
    state: str = State.SAME
    scan: bool = False

    @property
    def info(self) -> FileInfo:
        return FileInfo(self.path, self.size, self.version, self.identity)


SCHEMA = pa.schema(
    [
        pa.field("number", pa.int32(), nullable=False),
        *(pa.field(name, pa.string(), nullable=False) for name in ("path", "name")),
        pa.field("size", pa.int64(), nullable=False),
        *(pa.field(name, pa.string(), nullable=False) for name in ("version", "identity")),
        pa.field("quarantined", pa.int64(), nullable=False),
        pa.field("shadowed", pa.bool_(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("scan", pa.bool_(), nullable=False),
    ]
)


def to_table(files: Iterable[CorpusFile]) -> pa.Table:
    return pa.Table.from_pylist([vars(file) for file in files], schema=SCHEMA)


def from_table(table: pa.Table) -> tuple[CorpusFile, ...]:
    return tuple(CorpusFile(**row) for row in table.to_pylist())


@dataclass(frozen=True)
class Inputs:
    """The files of one version in corpus order. listed_s: when they were listed, in seconds since 1970. next_number: of the next file that is new."""

    files: tuple[CorpusFile, ...]
    listed_s: float
    next_number: int


@dataclass(frozen=True)
class Comparison:
    """files: what is listed, in corpus order, and then what is gone. Those to be opened have `scan`."""

    files: tuple[CorpusFile, ...]
    next_number: int

    def of(self, *states: State) -> list[CorpusFile]:
        return [file for file in self.files if file.state in states]

    @property
    def scanned(self) -> list[CorpusFile]:
        return [file for file in self.files if file.scan]

    @property
    def counts(self) -> dict[str, int]:
        found = Counter(file.state for file in self.files)
        return {state.value: found[state] for state in State}

    @property
    def nothing_to_do(self) -> bool:
        return not self.scanned and all(file.state == State.SAME for file in self.files)


def compare(
    previous: Inputs, listed: Sequence[tuple[str, FileInfo]], *, rescan: bool = False, retry_quarantined: bool = False
) -> Comparison:
    """How the corpus is now, against what the version was made from.

    The same (path, size, version, identity): not opened, unless it was written within RACY_S before it was listed, when another write may have left its
    time as it was. The same (size, etag) under another address, once on both sides: renamed, and not opened either.
    rescan: nothing is believed, all are opened. retry_quarantined: those with refused rows are.
    """
    before = {file.path: file for file in previous.files}
    renamed = _renames(before, listed)
    number, found, seen = previous.next_number, list[CorpusFile](), set[int]()
    for name, info in listed:
        known = before.get(info.path) or renamed.get(info.path)
        state = _state(known, info, previous.listed_s)
        if known is None:
            known, number = CorpusFile(number, info.path, name, info.size, info.version, info.identity), number + 1
        scan = rescan or state in (State.NEW, State.CHANGED) or (retry_quarantined and known.quarantined > 0)
        seen.add(known.number)
        found.append(
            replace(known, path=info.path, name=name, size=info.size, version=info.version, identity=info.identity, state=state, scan=scan)
        )
    gone = [replace(file, state=State.GONE, scan=False) for file in previous.files if file.number not in seen]
    if gone or any(file.scan for file in found):
        found = [replace(file, scan=True) if file.shadowed else file for file in found]
    return Comparison((*found, *gone), number)


def _state(known: CorpusFile | None, info: FileInfo, listed_s: float) -> State:
    if known is None:
        return State.NEW
    if known.path != info.path:
        return State.RENAMED
    same = (known.size, known.version) == (info.size, info.version) and known.identity in ("", info.identity)
    return State.SAME if same and not _is_racy(info, listed_s) else State.CHANGED


def _is_racy(info: FileInfo, listed_s: float) -> bool:
    """Whether it may have been written again after it was listed, its time the same: an etag says so, a time does not."""
    return bool(info.identity) and info.modified_s > listed_s - RACY_S


def _renames(before: dict[str, CorpusFile], listed: Sequence[tuple[str, FileInfo]]) -> dict[str, CorpusFile]:
    """New address -> the file that had another one. Of objects alone: a local file's time says too little of what is in it."""
    here = {info.path for _, info in listed}
    lost = [file for path, file in before.items() if path not in here and not file.identity and file.version]
    appeared = [info for _, info in listed if info.path not in before and not info.identity and info.version]
    left = _unique([((file.size, file.version), file) for file in lost])
    right = _unique([((info.size, info.version), info) for info in appeared])
    return {info.path: left[key] for key, info in right.items() if key in left}


def _unique(pairs: Sequence[tuple[Key, Value]]) -> dict[Key, Value]:
    times = Counter(key for key, _ in pairs)
    return {key: value for key, value in pairs if times[key] == 1}
