"""Which format a dataset has: `_embermill/format.json`, the first file of every dataset.

Format 1: bookkeeping and quarantine are named *.parquet, and shards have no column `version`. Format 2: they are named *.pq, so that a glob for *.parquet
finds rows alone, and there may be more versions than one; a dataset of format 1 that gets a second version becomes one of format 2 and keeps its names.
An embermill that knows format 1 alone refuses format 2 and prints `format_version` as it is: so that says which embermill to use.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

from embermill.jobs import remedies
from embermill.jobs.bookkeeping.seal import read_json, sealed_json
from embermill.jobs.errors import MetadataDamaged, UsageError
from embermill.jobs.plan.copies import PLANS
from embermill.jobs.storage import AlreadyExists, Folder, restore_bytes

FORMAT = "_embermill/format.json"
NEWEST = 2
NEEDED = "0.2.0"  # the first embermill that reads format 2
SPELLED: dict[int, int | str] = {1: 1, 2: f"2 (embermill {NEEDED} or newer)"}  # in format.json
TABLE_SUFFIXES = {1: ".parquet", 2: ".pq"}
KEYS_BEFORE_CHECKSUMS = frozenset({"format_version", "name", "created"})


def read_format(folder: Folder) -> int | None:
    """None where none is written yet. UsageError for one that a later embermill made, MetadataDamaged where it is damaged."""
    try:
        found = read_json(folder.read(FORMAT), KEYS_BEFORE_CHECKSUMS).get("format_version")
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise MetadataDamaged(folder.root, FORMAT, f"is damaged: {error}", remedies.FORMAT) from None
    for version, spelled in SPELLED.items():
        if found == spelled:
            return version
    raise UsageError(f"{folder.root}/{FORMAT}: expected format_version 1 or 2, got {found}: use the version of embermill that made it")


def ensure_format(folder: Folder, version: int | None = None) -> None:
    """Say which format this dataset has, where it is not said. version: None where it follows from what is there."""
    if not folder.exists(FORMAT):
        with contextlib.suppress(AlreadyExists):
            folder.create(FORMAT, _describe(folder, version or _found(folder)))


def upgrade_format(folder: Folder) -> None:
    """From now on an embermill that knows nothing of versions refuses this dataset. For the holder of the lease, before anything of a second version is
    written; it may be killed before or after."""
    if read_format(folder) == NEWEST:
        return
    ensure_format(folder, NEWEST)
    standing = read_json(folder.read(FORMAT), KEYS_BEFORE_CHECKSUMS)
    restore_bytes(folder, FORMAT, sealed_json(standing | {"format_version": SPELLED[NEWEST]}))


def table_suffix(folder: Folder) -> str:
    """How names of the bookkeeping tables that follow the plan end: as the plan's own do."""
    return TABLE_SUFFIXES[2 if any(name.endswith(TABLE_SUFFIXES[2]) for name, _ in folder.list(PLANS)) else 1]


def _found(folder: Folder) -> int:
    has_versions = any(True for _ in folder.list("_embermill/versions"))
    return 2 if has_versions or table_suffix(folder) == TABLE_SUFFIXES[2] else 1


def _describe(folder: Folder, version: int) -> bytes:
    name = folder.root.rstrip("/").rpartition("/")[2]
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return sealed_json({"format_version": SPELLED[version], "name": name, "created": created})
