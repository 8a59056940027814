"""Which shards a dataset has: the one place that decides whom its readers go by.

The newest manifest is the last word on a finished dataset: it is published last, when all is accounted for, and carries its own sums. What is committed
counts only until there is one; a run that finds the two apart mends the commits by the manifest. status, verify, search and comparisons all look here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from jobs.dataset.commits import CommitLog, pending
from jobs.dataset.manifest import Manifest, read_manifest
from jobs.dataset.receipt_table import SCHEMA, to_receipts
from jobs.errors import UsageError
from jobs.plan.files import Plan, read_plan
from jobs.receipt import Task
from jobs.storage import Folder


@dataclass(frozen=True)
class Inventory:
    """receipts: receipt_table.SCHEMA, in row order, from the manifest, or from the commits where it is None."""

    folder: Folder
    plan: Plan
    manifest: Manifest | None
    receipts: pa.Table

    @property
    def finished(self) -> bool:
        return self.manifest is not None

    @cached_property
    def left(self) -> list[Task]:
        """What is left of the plan; nothing of a finished dataset."""
        return [] if self.finished else pending(self.plan, to_receipts(self.receipts))


def read_inventory(folder: Folder) -> Inventory:
    """UsageError where there is no dataset, DataError where plan, manifest or (of an unfinished one) a commit is damaged."""
    plan = read_plan(folder)
    if plan is None:
        raise UsageError(f"{folder.root}: there is no dataset here (no _embermill/plan): expected the output.uri of an `embermill run`")
    manifest, receipts = read_receipts(folder)
    return Inventory(folder, plan, manifest, receipts)


def read_receipts(folder: Folder) -> tuple[Manifest | None, pa.Table]:
    """The newest manifest and its receipts; None and what is committed, where none is published."""
    manifest = read_manifest(folder)
    return manifest, CommitLog(folder).table() if manifest is None else manifest.shards.select(SCHEMA.names)
