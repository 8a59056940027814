"""Which shards a dataset has: the one place that decides whom its readers go by.

The newest manifest is the last word on a finished dataset: it is published last, when all is accounted for, and carries its own sums. What is committed
counts only until there is one; a run that finds the two apart corrects the commits by the manifest. status, verify, search and comparisons all look here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.completeness import unfinished
from embermill.jobs.dataset.metadata.consistency import manifest_damage, plan_damage
from embermill.jobs.dataset.metadata.manifest import Manifest, read_manifest
from embermill.jobs.dataset.metadata.receipt_table import SCHEMA
from embermill.jobs.dataset.metadata.why_unfinished import ended_by_refusals, why_unfinished
from embermill.jobs.plan.files import Plan, require_plan
from embermill.jobs.storage import Folder


@dataclass(frozen=True)
class Inventory:
    """What a dataset is made of: its plan, and whoever has the say about its shards, the newest manifest or, until there is one, the commits."""

    plan: Plan
    says: Manifest | CommitLog

    @property
    def manifest(self) -> Manifest | None:
        """None where the dataset is not finished."""
        return self.says if isinstance(self.says, Manifest) else None

    @cached_property
    def receipts(self) -> pa.Table:
        """receipt_table.SCHEMA, in row order."""
        return receipts_of(self.says)

    @cached_property
    def unfinished(self) -> np.ndarray:
        """Numbers of the partitions that are left of the plan, ascending; none of a finished dataset."""
        return np.empty(0, np.int64) if self.manifest else unfinished(self.plan, self.receipts)

    def why_unfinished(self, folder: Folder) -> str:
        """In words; of one that has no manifest."""
        return why_unfinished(folder, self.plan, self.receipts, self.unfinished)

    @property
    def is_refused(self) -> bool:
        """Whether there is no manifest because of what the run refused."""
        return self.manifest is None and ended_by_refusals(self.plan, self.receipts, self.unfinished)


def read_inventory(folder: Folder) -> Inventory:
    """UsageError where there is no dataset, MetadataDamaged where plan, manifest or (of an unfinished one) a commit is damaged or of another plan."""
    found = list_inventory(folder)
    says = found.says
    for damage in manifest_damage(folder, found.plan, says) if isinstance(says, Manifest) else plan_damage(says, found.plan):
        raise damage
    return found


def list_inventory(folder: Folder) -> Inventory:
    """The same, whatever plan the receipts are of: for `verify`, which judges them one by one."""
    return Inventory(require_plan(folder), who_says(folder))


def who_says(folder: Folder) -> Manifest | CommitLog:
    """Whom to go by. MetadataDamaged where that one is damaged."""
    return read_manifest(folder) or CommitLog(folder)


def receipts_of(says: Manifest | CommitLog) -> pa.Table:
    """receipt_table.SCHEMA, in row order."""
    return says.shards.select(SCHEMA.names) if isinstance(says, Manifest) else says.table()
