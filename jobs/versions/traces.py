"""Everything in a dataset that could hold a row that its newest version does not have, removed at once.

What stays: the plan (and with it the names of corpus files, which documents have for ids: path_ids.py), format and card, the decisions about versions (they
name files, no rows), and what the newest version needs. Commits and manifests are rewritten without the first and last ids of shards.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.dataset.metadata.commits import COMMITS, CommitLog
from embermill.jobs.dataset.metadata.completing import mark_of
from embermill.jobs.dataset.metadata.lease import Lease
from embermill.jobs.dataset.metadata.manifest import MANIFESTS, read_manifest, republish_manifest
from embermill.jobs.dataset.metadata.receipt_table import ERASED, SCHEMA
from embermill.jobs.dataset.metadata.version_copies import COPIES, copy_of
from embermill.jobs.dataset.metadata.versions import Version
from embermill.jobs.plan.files import Plan
from embermill.jobs.shard.contents import Damaged, open_parquet, row_groups
from embermill.jobs.storage import Folder
from embermill.jobs.storage.local import TMP

STAYS = ("_embermill/plan/", "_embermill/format.json", "_embermill/versions/", "_embermill/lease/", "_embermill/runs/", COMMITS, MANIFESTS, "README.md")
LISTING_COPIES = f"{COPIES}/inputs-"
QUARANTINE = "quarantine/"
OURS = ("data/", "bases/", "changes/", QUARANTINE, "_embermill/")


def remove_traces(folder: Folder, plan: Plan, version: Version, ids: pa.Array, lease: Lease) -> list[str]:
    """Names of what was removed. Of the quarantine files that refuse none of these ids stay."""
    removed, texts = [], ids.cast(pa.string())
    needed = {file.name for file in version.files} | _inputs(version) | {mark_of(version)}
    for name, _ in [*folder.list()]:
        if name.startswith(QUARANTINE) and _refuses_none(folder, name, texts):
            continue
        if name.startswith(OURS) and (not name.startswith(STAYS) or name.startswith(LISTING_COPIES)) and name not in needed:
            lease.require_not_lost()
            folder.remove(name)
            removed.append(name)
    return [*removed, *_forget_ids(folder, plan, lease)]


def remove_attempts(folder: Folder, lease: Lease) -> list[str]:
    """Names of the files that killed runs did not finish: what is in them cannot be looked into."""
    removed = [name for name, _ in folder.list(TMP)]
    for name in removed:
        lease.require_not_lost()
        folder.remove(name)
    return removed


def may_hold_ids(name: str) -> bool:
    """Whether an erasure would remove the file, or write it again without ids."""
    return name.startswith(OURS) and (not name.startswith(STAYS) or name.startswith((COMMITS, MANIFESTS)))


def _refuses_none(folder: Folder, name: str, ids: pa.Array) -> bool:
    try:
        with folder.open(name) as file, open_parquet(file) as parquet:
            return not any(pc.any(pc.is_in(table.column(0), ids)).as_py() for table in row_groups(parquet, ["id"]))
    except Damaged:
        return False


def _inputs(version: Version) -> set[str]:
    """The listing of corpus files that the next sync compares with, and its copy."""
    described = version.details.get("inputs")
    return {str(described["file"]), copy_of(str(described["file"]))} if isinstance(described, dict) else set()


def _forget_ids(folder: Folder, plan: Plan, lease: Lease) -> Iterator[str]:
    """A manifest of the run that names no ids, then one commit with the same receipts, then all others go: at each moment both say the same otherwise."""
    manifest = read_manifest(folder)
    assert manifest is not None, "an erasure is of a finished dataset"
    if any(manifest.shards.column(name).null_count < manifest.shards.num_rows for name in ERASED):
        manifest = republish_manifest(folder, plan, manifest, _without_ids(manifest.shards))
    lease.require_not_lost()
    commit = CommitLog(folder, lease.token).restate(manifest.shards.select(SCHEMA.names))
    kept = {manifest.name, str(manifest.root["shards"]["file"]), commit}
    for name in [name for name, _ in (*folder.list(MANIFESTS), *folder.list(COMMITS)) if name not in kept]:
        lease.require_not_lost()
        folder.remove(name)
        yield name


def _without_ids(receipts: pa.Table) -> pa.Table:
    for name in ERASED:
        place = receipts.schema.get_field_index(name)
        receipts = receipts.set_column(place, receipts.schema.field(place), pa.nulls(receipts.num_rows, pa.string()))
    return receipts
