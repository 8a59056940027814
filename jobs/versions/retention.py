"""Which versions are kept, and which files no kept version needs. Cursors never expire: what changed after one is in every later version.

Only reading an older version as it was (`--version`, `rollback`) ends with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from embermill.jobs.dataset.metadata.claims import CLAIMS
from embermill.jobs.dataset.metadata.completing import marked_number
from embermill.jobs.dataset.metadata.keys import KEYS_FOLDER
from embermill.jobs.dataset.metadata.retirement import retire, retired_numbers
from embermill.jobs.dataset.metadata.versions import Version, read_versions
from embermill.jobs.shard.footer import DATA, parse_name
from embermill.jobs.storage import FileInfo, Folder

MADE = ("bases", "changes", KEYS_FOLDER, "_embermill/sync", CLAIMS)  # folders of which each has one folder (or file) for each number

_STEPS = re.compile(r"/(scan|difference|imports)/")  # of a sync: what a version is made from and does not need; left where it was killed after its commit


def kept_versions(versions: Iterable[Version], now: datetime, keep_versions: int | None, keep_days: float | None) -> list[Version]:
    """All, where neither is given; else the newest so many and all that were made within so many days. The newest is always kept."""
    committed = [version for version in versions if version.is_committed]
    if keep_versions is None and keep_days is None:
        return committed
    newest = committed[-max(1, keep_versions or 1) :]
    return [version for version in committed if version in newest or (keep_days is not None and _is_younger(version, now, keep_days))]


def retire_others(folder: Folder, kept: Iterable[Version], why: str) -> list[int]:
    """The numbers of the committed versions that are not kept, of which no file is needed from now on."""
    numbers = {version.number for version in kept}
    others = [version.number for version in read_versions(folder, files=False) if version.is_committed and version.number not in numbers]
    for number in others:
        retire(folder, number, why)
    return others


def readable_versions(folder: Folder) -> list[Version]:
    retired = retired_numbers(folder)
    return [version for version in read_versions(folder) if version.is_committed and version.number not in retired]


def unneeded_files(folder: Folder) -> Iterator[tuple[str, FileInfo]]:
    """What no version that can be read needs, of numbers below the newest version, and of those that were given up since no row changed; what is being made,
    and what may be reused for it, stays."""
    readable = readable_versions(folder)
    if not readable:
        return
    newest = readable[-1].number
    passed_over = {version.number for version in read_versions(folder, files=False) if not version.is_committed and version.details}
    needed = {file.name for version in readable for file in version.files}
    for top in MADE:
        for name, info in folder.list(top):
            number = _number_of(name.removeprefix(f"{top}/"))
            if marked_number(name) in _numbers(readable):
                continue
            is_bookkeeping = top == "_embermill/sync" and number in _numbers(readable) and not _STEPS.search(name)
            if name not in needed and number is not None and (number <= newest or number in passed_over) and not is_bookkeeping:
                yield name, info
    if 1 in retired_numbers(folder):
        yield from ((name, info) for name, info in folder.list(DATA) if name not in needed and parse_name(name) is not None)


def _numbers(versions: Iterable[Version]) -> set[int]:
    return {version.number for version in versions}


def _number_of(rest: str) -> int | None:
    """Of "000041/upserts/part-…" or "000041.json"."""
    digits = rest.partition("/")[0].partition(".")[0]
    return int(digits) if digits.isdigit() else None


def _is_younger(version: Version, now: datetime, days: float) -> bool:
    try:
        return datetime.fromisoformat(version.created) > now - timedelta(days=days)
    except (TypeError, ValueError):
        return True  # its age is not known
