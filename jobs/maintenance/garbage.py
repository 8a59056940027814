"""`embermill gc`: what killed runs left behind, in a dataset and in this machine's folder for temporary files. Nothing that is younger than a day.

What no reader goes by and no run would take up again: attempts that were never published, files that were set aside, tables of plans and manifests that
another run was faster with, and, once there is a manifest, shards that neither it nor a commit names.

A run that was silent for so long that `gc` took its lease may wake at any moment, and so may `gc` itself. So the commits of earlier holders are fenced
first, and what somebody may still come to name stays: a table without a root, above all.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.completing import complete_version
from embermill.jobs.dataset.metadata.inventory import list_inventory
from embermill.jobs.dataset.metadata.lease import LEASE, Lease, hold_lease, newest_token
from embermill.jobs.dataset.metadata.liveness import is_gone
from embermill.jobs.dataset.metadata.manifest import MANIFESTS, named_files
from embermill.jobs.dataset.metadata.versions import read_versions
from embermill.jobs.errors import UsageError
from embermill.jobs.plan.copies import PLANS, named_by_roots
from embermill.jobs.plan.dataset_format import TABLE_SUFFIXES
from embermill.jobs.shard.adoption import SET_ASIDE
from embermill.jobs.shard.footer import DATA, QUARANTINE, parse_name
from embermill.jobs.storage import FileInfo, Folder, open_folder
from embermill.jobs.versions.retention import MADE, kept_versions, retire_others, unneeded_files

MIN_AGE_S = 24 * 3600.0
TMP = "_embermill/tmp"
TABLES = tuple(TABLE_SUFFIXES.values())
SCRATCH = "embermill-"  # how our folders in the machine's own begin
OWNER = "owner.json"  # in one of them: the process that made it


@dataclass
class Collected:
    """removed: names within the dataset; bytes: of all of them. scratch: folders of this machine. retired: versions that can no longer be read."""

    root: str
    removed: list[str] = field(default_factory=list)
    bytes: int = 0
    scratch: list[str] = field(default_factory=list)
    retired: list[int] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def collect(uri: str, now_s: float | None = None, *, keep_versions: int | None = None, keep_days: float | None = None) -> Collected:
    """Under the lease. now_s: the time, in seconds since 1970. keep_versions, keep_days: see retention.kept_versions; without them every version is kept.
    UsageError where there is no dataset, MetadataDamaged for one whose inventory is damaged."""
    now_s = time.time() if now_s is None else now_s
    folder = open_folder(uri)
    if next(iter(folder.list("_embermill")), None) is None:
        raise UsageError(f"{folder.root}: there is no dataset here (no _embermill): expected the output.uri of an `embermill run`")
    found = Collected(folder.root)
    with hold_lease(folder, purpose="gc") as lease:
        versions = read_versions(folder, files=False)
        kept = kept_versions(versions, datetime.fromtimestamp(now_s, UTC), keep_versions, keep_days)
        if kept:
            complete_version(folder)
        found.retired = retire_others(folder, kept, "gc") if kept else []
        for name, info in dict(_orphans(folder, lease)).items():
            if 0 < info.modified_s <= now_s - MIN_AGE_S:
                lease.require_held() if name.startswith((DATA, QUARANTINE, *MADE)) else lease.require_not_lost()
                folder.remove(name)
                found.removed.append(name)
                found.bytes += info.size
    for path in list_scratch(Path(tempfile.gettempdir()), now_s):
        shutil.rmtree(path, ignore_errors=True)
        found.scratch.append(str(path))
    return found


def _orphans(folder: Folder, lease: Lease) -> Iterator[tuple[str, FileInfo]]:
    """Whatever their age. Files that no writer of ours names are somebody else's, and stay."""
    inventory = list_inventory(folder)
    commits = CommitLog(folder, lease.token)
    lease.fence(commits)
    for prefix in (TMP, SET_ASIDE):
        yield from folder.list(prefix)
    yield from _of_older_leases(folder)
    yield from _never_named(folder)
    if inventory.manifest is None:
        return  # the next run takes up what is there
    yield from unneeded_files(folder)
    named = named_files(inventory.receipts) | named_files(commits.table())
    for prefix in (DATA, QUARANTINE):
        yield from ((name, info) for name, info in folder.list(prefix) if name not in named and parse_name(name) is not None)


def _of_older_leases(folder: Folder) -> Iterator[tuple[str, FileInfo]]:
    newest = f"{newest_token(folder) - 1:09d}"  # ours, and the one before it, stay
    return ((name, info) for name, info in folder.list(LEASE) if name.removeprefix(f"{LEASE}/")[:9] < newest)


def _never_named(folder: Folder) -> Iterator[tuple[str, FileInfo]]:
    """Tables that nobody can come to name: a plan's, where its root stands and names others, and a manifest's, where a newer one is published.

    A run that makes the same table once more finds it there and names it in its root; another table of that number is passed over.
    """
    named = named_by_roots(folder)
    for name, info in folder.list(PLANS):
        base = "/".join(name.split("/")[:3])
        if name.endswith(TABLES) and base in named and name not in named[base]:
            yield name, info
    manifests = dict(folder.list(MANIFESTS))
    newest = max((name for name in manifests if name.endswith(".json")), default="")
    yield from (
        (name, info)
        for name, info in manifests.items()
        if name.endswith(TABLES) and (root := name.rpartition(".")[0] + ".json") not in manifests and root < newest
    )


def list_scratch(where: Path, now_s: float) -> list[Path]:
    """Folders of ours there that are a day old and whose process is gone: by what they say of it, else while no other process of ours runs at all."""
    found = []
    for path in sorted(where.glob(f"{SCRATCH}*")):
        with contextlib.suppress(OSError):
            status = path.lstat()
            old = status.st_mtime <= now_s - MIN_AGE_S
            if path.is_dir() and not path.is_symlink() and status.st_uid == os.getuid() and old and _is_left(path):
                found.append(path)
    return found


def _is_left(path: Path) -> bool:
    try:
        owner = json.loads((path / OWNER).read_text())
    except (OSError, ValueError, RecursionError):
        return not _others_run()
    return isinstance(owner, dict) and is_gone(owner)


def _others_run() -> bool:
    """Whether another process of this user looks like one of ours, or like a Ray worker that may be; where that cannot be told, it is taken for granted."""
    if not Path("/proc/self/cmdline").exists():
        return True
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes()
            mine = process.stat().st_uid == os.getuid() and int(process.name) not in (os.getpid(), os.getppid())
            if mine and (b"embermill" in command or b"ray::" in command):
                return True
    return False
