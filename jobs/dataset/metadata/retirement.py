"""Versions that can no longer be read: `_embermill/versions/000007.retired.json`, written before the first of their files is removed and never taken back."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime

from embermill.jobs.bookkeeping.seal import sealed_json
from embermill.jobs.storage import AlreadyExists, Folder

VERSIONS = "_embermill/versions"
_NAME = re.compile(rf"{VERSIONS}/(\d{{6,}})\.retired\.json")


def retire(folder: Folder, number: int, why: str) -> None:
    """For the holder of the lease."""
    with contextlib.suppress(AlreadyExists):
        created = datetime.now(UTC).isoformat(timespec="seconds")
        folder.create(_name_of(number), sealed_json({"number": number, "why": why, "created": created}))


def is_retired(folder: Folder, number: int) -> bool:
    return folder.exists(_name_of(number))


def retired_numbers(folder: Folder) -> frozenset[int]:
    return frozenset(int(match[1]) for name, _ in folder.list(VERSIONS) if (match := _NAME.fullmatch(name)))


def _name_of(number: int) -> str:
    return f"{VERSIONS}/{number:06d}.retired.json"
