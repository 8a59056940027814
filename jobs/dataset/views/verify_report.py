"""What `verify` found, for a person and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, TypeVar

from embermill.jobs import remedies
from embermill.jobs.dataset.metadata.receipt_table import Totals
from embermill.jobs.dataset.metadata.versions import Version
from embermill.jobs.errors import DataError

T = TypeVar("T")

MAX_LISTED = 100  # of each kind; all are counted
MAX_SHOWN = 10


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong with one file. file: name within the dataset. remedy: what helps, "" where it is what helps against damaged shards."""

    file: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.file}: {self.what.rstrip('.')}" + (f". {self.remedy}." if self.remedy else "")


@dataclass(frozen=True)
class Duplicate:
    """One id and where it stands: (shard, row within it), ten places at most."""

    id: str
    places: tuple[tuple[str, int], ...]


class BoundedList(Generic[T]):
    """The first MAX_LISTED items; `count` is of all."""

    def __init__(self) -> None:
        self.items: list[T] = []
        self.count = 0

    @property
    def has_room(self) -> bool:
        return len(self.items) < MAX_LISTED

    def append(self, item: T) -> None:
        self.count += 1
        if self.has_room:
            self.items.append(item)

    def extend(self, items: Iterable[T]) -> None:
        for item in items:
            self.append(item)


@dataclass
class Findings:
    """damage: of files that are named. duplicates: ids that occur more than once. unnamed: files beside them, which no reader of the manifest sees."""

    damage: BoundedList[Damage] = field(default_factory=BoundedList)
    duplicates: BoundedList[Duplicate] = field(default_factory=BoundedList)
    duplicate_rows: int = 0
    unnamed: BoundedList[str] = field(default_factory=BoundedList)

    @property
    def are_bad(self) -> bool:
        return bool(self.damage.count or self.duplicates.count)


@dataclass(frozen=True)
class VerifyReport:
    """manifest: its name, None where the run is not finished and the commit log was read instead. totals: of the run. version: the newest one.

    documents: of a dataset of chunks, that the newest one has, or that are committed. unfinished: why there is no manifest, in words.
    refused: whether that is for what the run refused. empty: why no row is live, where that is known."""

    root: str
    manifest: str | None
    totals: Totals
    findings: Findings
    version: Version | None = None
    documents: int | None = None
    unfinished: str | None = None
    refused: bool = False
    empty: str | None = None

    @property
    def is_ok(self) -> bool:
        """Sound and finished, and not empty for what was refused."""
        return not self.findings.are_bad and self.unfinished is None and self.empty is None

    def to_json(self) -> dict[str, Any]:
        found = self.findings
        return {
            "root": self.root,
            "manifest": self.manifest,
            "finished": self.manifest is not None,
            "unfinished": self.unfinished,
            "empty": self.empty,
            "version": None if self.version is None else self.version.number,
            "rows": None if self.version is None else self.version.totals["rows"],
            "live_documents": self.documents,
            "ok": self.is_ok,
            **self.totals.to_json(),
            "damaged": found.damage.count,
            "damage": [asdict(damage) for damage in found.damage.items],
            "duplicate_ids": found.duplicates.count,
            "duplicate_rows": found.duplicate_rows,
            "duplicates": [{"id": duplicate.id, "places": [list(place) for place in duplicate.places]} for duplicate in found.duplicates.items],
            "unnamed_files": found.unnamed.count,
            "unnamed": found.unnamed.items,
        }

    def lines(self) -> Iterator[str]:
        """What is wrong, and what is noteworthy; nothing where all is well."""
        found = self.findings
        yield from _shown(found.damage, "damaged", str)
        if any(not damage.remedy for damage in found.damage.items):
            yield f"{remedies.SHARD}."
        yield from _shown(found.duplicates, "ids that several rows of the corpus have", _show_duplicate)
        yield from _shown(found.unnamed, "files that nothing names", str)
        if self.manifest is None:
            yield "no manifest yet: the run is not finished, what is committed was checked"


class VerifyFailed(DataError):
    """Damage or duplicate ids. `report` holds all that was found."""

    def __init__(self, report: VerifyReport) -> None:
        super().__init__(f"{report.root} does not verify:\n" + "\n".join(report.lines()))
        self.report = report


def _show_duplicate(duplicate: Duplicate) -> str:
    return f"{duplicate.id!r} in " + ", ".join(f"{name} row {row}" for name, row in duplicate.places)


def _shown(found: BoundedList[T], title: str, show: Callable[[T], str]) -> Iterator[str]:
    if found.count:
        yield f"{found.count} {title}:"
        yield from (f"  {show(item)}" for item in found.items[:MAX_SHOWN])
        if found.count > MAX_SHOWN:
            yield f"  … and {found.count - MAX_SHOWN} more"
