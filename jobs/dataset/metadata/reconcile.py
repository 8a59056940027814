"""What a run does first at an existing dataset: bring the commits to what is true, by the manifest or by the shards themselves."""

from __future__ import annotations

from itertools import chain

from embermill.jobs.dataset.metadata.card import CARD
from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.consistency import commit_damage, manifest_damage, missing, plan_damage
from embermill.jobs.dataset.metadata.manifest import Manifest, read_manifest
from embermill.jobs.plan.dataset_format import FORMAT
from embermill.jobs.plan.files import Plan
from embermill.jobs.shard.adoption import adopt_uncommitted, list_uncommitted
from embermill.jobs.storage import Folder


def reconcile(folder: Folder, plan: Plan, log: CommitLog) -> None:
    """Commit what the manifest names, or what a killed run published, and no commit has. DataError where a shard is of another plan."""
    manifest = require_consistent(folder, plan, log)
    if manifest is not None:
        log.append_table(missing(log, manifest))
    log.append([*adopt_uncommitted(folder, plan, log.committed)])


def is_settled(folder: Folder, plan: Plan, log: CommitLog) -> bool:
    """Whether the dataset is finished and nothing is to be written, not even a commit. Raises what reconcile raises."""
    manifest = require_consistent(folder, plan, log)
    is_described = folder.exists(FORMAT) and (folder.exists(CARD) or not plan.tells_versions)
    return is_described and manifest is not None and not missing(log, manifest).num_rows and not list_uncommitted(folder, plan, log.committed)


def require_consistent(folder: Folder, plan: Plan, log: CommitLog) -> Manifest | None:
    """The manifest, where there is one. MetadataDamaged where manifest, commits and plan contradict each other."""
    manifest = read_manifest(folder)
    for damage in plan_damage(log, plan) if manifest is None else chain(manifest_damage(folder, plan, manifest), commit_damage(log, manifest)):
        raise damage
    return manifest
