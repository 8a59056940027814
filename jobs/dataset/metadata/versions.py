"""Versions of a dataset. Each number is decided once, by one file that is created if absent: as a version, or as abandoned.

    _embermill/versions/000041.json        the decision: parent, cause, totals, and the files of a committed version
    _embermill/versions/000041-HASH.pq     one row per live file, named by the hash of its content

Version 1 is what the run made: it is decided by the run's manifest (manifest.py), and has no file here. Nobody decides a number before all lower ones are
decided, so the parent of a version is the newest committed one below it, and no lock is needed for that to be true.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs import remedies
from embermill.jobs.bookkeeping.expected_form import anything, number, one_of, positive, require_form, text
from embermill.jobs.bookkeeping.hashed_table import HASH_DIGITS, create_hashed, decode_table, read_hashed
from embermill.jobs.bookkeeping.seal import read_json, sealed_json, sealed_parquet
from embermill.jobs.bookkeeping.table_form import require_table
from embermill.jobs.dataset.metadata.inventory import list_inventory
from embermill.jobs.dataset.metadata.manifest import Manifest, read_manifest, read_manifest_root
from embermill.jobs.dataset.metadata.retirement import VERSIONS, is_retired
from embermill.jobs.dataset.metadata.version_copies import copy_decision
from embermill.jobs.errors import AnotherRun, MetadataDamaged, UsageError
from embermill.jobs.plan.files import Plan
from embermill.jobs.storage import AlreadyExists, Folder
from embermill.jobs.wording import describe_damage

VERSION_FORMAT = 1
FIRST = 1  # the number of the version that the run makes
BASE, UPSERTS, DELETES, KEYS = "base", "upserts", "deletes", "keys"
DOCUMENTS = "documents"  # in the totals of a version of a dataset of chunks: live ones
KINDS = (BASE, UPSERTS, DELETES, KEYS)
COMMITTED, ABANDONED = "committed", "abandoned"
WORTH_COMPACTING = 0.5  # what is written for a row in all is then three times the row
MOST_VERSIONS = 500  # since the base
_NAME = re.compile(rf"{VERSIONS}/(\d{{6,}})\.json")
_TABLE = re.compile(rf"{VERSIONS}/\d{{6,}}-([0-9a-f]{{{HASH_DIGITS}}})\.pq")
_SCHEMA = pa.schema(
    [
        pa.field("number", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("version", pa.int64(), nullable=False),
    ]
)
_DECIDED = {"number": positive, "state": one_of(COMMITTED, ABANDONED), "cause": text, "created": text, "details?": {"": anything}}
_COMMITTED = {
    "parent": positive, "totals": {"": number}, "details": {"": anything}, "files": {"file": text, "sha256": text},
}  # fmt: skip


@dataclass(frozen=True)
class VersionFile:
    """One live file. number: what the keys call it, never used for another file. version: the one that added it; rows of a base may be of earlier ones."""

    number: int
    kind: str  # one of KINDS
    name: str  # relative to the dataset
    rows: int
    bytes: int
    sha256: str
    version: int


@dataclass(frozen=True)
class Version:
    """One decided number. parent: the newest committed version below it, None of the first. cause: run, sync, compact, rollback or erase.

    totals: at least `rows`, the live rows; of changes also rows_upserted and rows_deleted. details: what else its maker says of it. files: all that a
    reader of this version needs, those of earlier versions included; none of an abandoned one, whose details are empty but where it says what the corpus
    files are like that hold the rows of `parent` (sync/passing_over.py).
    """

    number: int
    parent: int | None
    state: str
    cause: str
    created: str  # ISO 8601, UTC
    totals: dict[str, int] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    files: tuple[VersionFile, ...] = ()

    @property
    def is_committed(self) -> bool:
        return self.state == COMMITTED

    @property
    def next_file(self) -> int:
        """The number of the first file that a child of this version adds; files number on from there in the order in which they are given."""
        return max((file.number for file in self.files), default=-1) + 1

    def of_kind(self, *kinds: str) -> tuple[VersionFile, ...]:
        return tuple(file for file in self.files if file.kind in kinds)


@dataclass(frozen=True)
class Contents:
    """What is to become version `number`: see Version."""

    number: int
    parent: int
    cause: str
    totals: dict[str, int]
    files: tuple[VersionFile, ...]
    details: dict[str, Any] = field(default_factory=dict)


def read_versions(folder: Folder, *, files: bool = True) -> tuple[Version, ...]:
    """Every decided number in order, the abandoned ones too; none where no run was finished. MetadataDamaged where one cannot be read.

    files: False leaves them out: half of the requests to a store, and no row for each shard of a large run.
    """
    manifest = read_manifest(folder) if files else None
    root = read_manifest_root(folder) if manifest is None else manifest.root
    first = () if root is None else (_first_version(root, () if manifest is None else tuple(_shards_of(manifest))),)
    return (*first, *(_read(folder, number, files=files) for number in _decided(folder)))


def read_version(folder: Folder, number: int | None = None) -> Version:
    """A committed version; None: the newest. UsageError where there is none, or it was abandoned."""
    if number is None:
        return _newest(folder, FIRST if (decided := _decided(folder)) == [] else decided[-1])
    found = None if number < FIRST else _find(folder, number)
    if found is None:
        highest = max([FIRST, *_decided(folder)])
        raise UsageError(f"{folder.root}: there is no version {number}: expected one from {FIRST} to {highest}; `embermill history` lists them")
    if not found.is_committed:
        raise UsageError(f"{folder.root}: version {number} was abandoned and holds nothing: `embermill history` lists the versions that can be read")
    if is_retired(folder, number):
        raise UsageError(f"{folder.root}: the files of version {number} were collected: `embermill history` lists the versions that can be read")
    return found


def read_newest(folder: Folder) -> Version | None:
    """The newest committed version without its files, by two or three small reads; None where no run was finished."""
    for decided in reversed(_decided(folder)):
        if (found := _read(folder, decided, files=False)).is_committed:
            return found
    root = read_manifest_root(folder)
    return None if root is None else _first_version(root, ())


def read_passed_over(folder: Folder, newest: int) -> Version | None:
    """The last abandoned number above the newest version, of those that say what its corpus files are like; None where there is none."""
    above = (_read(folder, number, files=False) for number in reversed(_decided(folder)) if number > newest)
    return next((found for found in above if not found.is_committed and found.details.get("parent") == newest), None)


def next_number(folder: Folder) -> int:
    """The lowest number that is not decided. UsageError where not even the run was finished."""
    decided = _decided(folder)
    if not decided:
        read_first(folder)
    return max([FIRST, *decided]) + 1


def live_documents(folder: Folder, version: Version) -> int:
    """Of a dataset of chunks. What the run wrote is in its manifest."""
    if DOCUMENTS in version.totals:
        return version.totals[DOCUMENTS]
    root = read_manifest_root(folder)
    return 0 if root is None else int(root["totals"]["documents"])


def documents_of(folder: Folder, plan: Plan, version: Version) -> int | None:
    """Live documents of a dataset of chunks; None of another."""
    return live_documents(folder, version) if plan.rows.is_chunked else None


def read_first(folder: Folder) -> Version:
    manifest = read_manifest(folder)
    if manifest is None:
        raise UsageError(f"{folder.root}: there is no version of this dataset yet: {list_inventory(folder).why_unfinished(folder)}")
    return _first_version(manifest.root, tuple(_shards_of(manifest)))


def commit_version(folder: Folder, contents: Contents, created: str | None = None) -> Version:
    """Decide the number: from now on this is the newest version. Its files are published already.

    Who finds the same version there (the answer was lost, or a killed run's twin was faster) gets that one. AnotherRun where the number was decided
    otherwise, as a version of another run or as abandoned, or where the parent is not the newest version any more.
    """
    if contents.number != (expected := next_number(folder)):
        return _same_or_raise(folder, contents) if FIRST < contents.number < expected else _raise_too_early(folder, contents, expected)
    if contents.parent != (newest := read_version(folder).number):
        raise AnotherRun(f"{folder.root}: version {contents.number} was made from version {contents.parent}, and {newest} is the newest one now: run again")
    table = _to_table(contents.files)
    data = sealed_parquet(table)
    described = create_hashed(folder, f"{VERSIONS}/{contents.number:06d}", data, remedy=remedies.VERSION)
    files = {"file": described["file"], "rows": table.num_rows, "bytes": len(data), "sha256": described["sha256"]}
    root = _root(contents, COMMITTED, created) | {"files": files}
    try:
        folder.create(_name_of(contents.number), sealed_json(root))
    except AlreadyExists:
        return _same_or_raise(folder, contents)
    copy_decision(folder, _name_of(contents.number))
    return _read(folder, contents.number)


def abandon_version(folder: Folder, number: int, reason: str, details: dict[str, Any] | None = None) -> Version:
    """Decide that there will be no such version. Returns what was decided: where somebody was faster, that may be a version after all.

    details: see Version.
    """
    if number > (expected := next_number(folder)) or number <= FIRST:
        raise ValueError(f"version {number} cannot be abandoned: the next number to decide is {expected}")
    tombstone = {"version_format": VERSION_FORMAT, "number": number, "state": ABANDONED, "cause": reason, "created": _now()}
    tombstone |= {"details": details} if details else {}
    with contextlib.suppress(AlreadyExists):
        folder.create(_name_of(number), sealed_json(tombstone))
    copy_decision(folder, _name_of(number))
    return _read(folder, number)


def changed_files(version: Version) -> list[VersionFile]:
    """Upserts and deletes since the base was made: not the log of deletes that lies beside it, nor where a base of no row, which has no file, would."""
    if not version.of_kind(BASE, UPSERTS):
        return []
    base = max((file.version for file in version.of_kind(BASE)), default=FIRST)
    return [file for file in version.of_kind(UPSERTS, DELETES) if file.version > base]


def is_worth_compacting(version: Version, share: float = WORTH_COMPACTING) -> bool:
    """Whether as many rows changed as are that share of the base, or so many versions did that opening their files costs more than reading the rows."""
    changed, base = changed_files(version), sum(file.rows for file in version.of_kind(BASE))
    return bool(changed) and (sum(file.rows for file in changed) >= share * base or len({file.version for file in changed}) >= MOST_VERSIONS)


def _decided(folder: Folder) -> list[int]:
    """Numbers above the first one, in order."""
    return sorted(int(match[1]) for name, _ in folder.list(VERSIONS) if (match := _NAME.fullmatch(name)))


def _newest(folder: Folder, highest: int) -> Version:
    """The newest committed version up to that number."""
    while highest > FIRST:
        found = _find(folder, highest)
        if found is not None and found.is_committed:
            return found
        highest -= 1
    return read_first(folder)


def _find(folder: Folder, number: int) -> Version | None:
    if number == FIRST:
        return read_first(folder)
    return _read(folder, number) if folder.exists(_name_of(number)) else None


def _same_or_raise(folder: Folder, contents: Contents) -> Version:
    found = _read(folder, contents.number)
    if found.is_committed and (found.parent, found.cause, found.files) == (contents.parent, contents.cause, contents.files):
        return found
    how = f"as a version of another run ({found.cause})" if found.is_committed else f"as abandoned ({found.cause})"
    raise AnotherRun(f"{folder.root}: version {contents.number} was decided meanwhile, {how}: this run stops, nothing is lost; run again")


def _raise_too_early(folder: Folder, contents: Contents, expected: int) -> Version:
    raise AnotherRun(f"{folder.root}: version {contents.number} cannot be decided before version {expected} is: run again")


def _root(contents: Contents, state: str, created: str | None) -> dict[str, Any]:
    told = {name: value for name, value in vars(contents).items() if name != "files"}
    return {"version_format": VERSION_FORMAT, "state": state, "created": created or _now()} | told


def _read(folder: Folder, number: int, *, files: bool = True) -> Version:
    name = _name_of(number)
    try:
        root = read_json(folder.read(name), frozenset())
        if root["version_format"] != VERSION_FORMAT:
            found = root["version_format"]
            raise UsageError(f"{folder.root}/{name}: expected version_format {VERSION_FORMAT}, got {found}: use the version of embermill that made it")
        require_form(root, _DECIDED if root.get("state") == ABANDONED else _DECIDED | _COMMITTED)
        values = {key: root[key] for key in ("number", "state", "cause", "created")}
        if root["state"] == ABANDONED:
            return Version(parent=None, details=root.get("details", {}), **values)
        if values["number"] != number:
            raise ValueError(f"it is of version {values['number']}")
        listed = _read_files(folder, root["files"]) if files else ()
        return Version(parent=root["parent"], totals=root["totals"], details=root["details"], files=listed, **values)
    except FileNotFoundError:
        raise _damaged(folder, name, "is gone") from None
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, name, f"is damaged: {describe_damage(error)}") from error


def _read_files(folder: Folder, described: dict[str, Any]) -> tuple[VersionFile, ...]:
    if _TABLE.fullmatch(described["file"]) is None:
        raise ValueError(f"it names a file that is none of a version's: {described['file'][:200]!r}")
    return _to_files(read_hashed(folder, described, named_by="its version", remedy=remedies.VERSION))


def _to_files(data: bytes) -> tuple[VersionFile, ...]:
    table = decode_table(data)
    require_table(table, _SCHEMA, ())
    return tuple(VersionFile(**row) for row in table.select(_SCHEMA.names).to_pylist())


def _to_table(files: Sequence[VersionFile]) -> pa.Table:
    for file in files:
        if file.kind not in KINDS:
            raise ValueError(f"{file.name}: its kind {file.kind!r} is none of {', '.join(KINDS)}")
    table = pa.Table.from_pylist([vars(file) for file in files], schema=_SCHEMA)
    for column in ("number", "name"):
        if len(pc.unique(table.column(column))) != len(files):
            raise ValueError(f"two files of a version have the same {column}")
    return table


def _first_version(root: dict[str, Any], files: tuple[VersionFile, ...]) -> Version:
    return Version(FIRST, None, COMMITTED, "run", str(root.get("created", "")), {"rows": root["totals"]["rows_out"]}, {}, files)


def _shards_of(manifest: Manifest) -> Iterator[VersionFile]:
    """In row order. Their numbers are their places in it, which `repair` does not change."""
    rows = manifest.columns(("shard", "rows_out", "shard_bytes", "shard_sha256"))
    columns = (column.to_pylist() for column in rows.filter(pc.is_valid(rows.column("shard"))).columns)
    for place, (name, count, size, sha256) in enumerate(zip(*columns, strict=True)):
        yield VersionFile(place, BASE, name, count, size, sha256, FIRST)


def _name_of(number: int) -> str:
    return f"{VERSIONS}/{number:06d}.json"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _damaged(folder: Folder, name: str, what: str) -> MetadataDamaged:
    return MetadataDamaged(folder.root, name, what, remedies.VERSION)
