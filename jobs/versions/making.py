"""What the commands that make a version without embedding share: a finished dataset, its lease, and the card afterwards."""

from __future__ import annotations

from collections.abc import Callable

from embermill.jobs.dataset.metadata.completing import complete_version
from embermill.jobs.dataset.metadata.lease import hold_lease
from embermill.jobs.dataset.metadata.schema import require_own_version
from embermill.jobs.dataset.metadata.versions import Version
from embermill.jobs.dataset.views.opening import open_version
from embermill.jobs.plan.files import Plan
from embermill.jobs.storage import Folder, open_folder

Make = Callable[[Folder, Plan], Version | None]
"""None where there is nothing to do; else it upgrades the dataset's format first."""


def make_version(uri: str, purpose: str, make: Make) -> Version | None:
    """Under the lease. UsageError where there is no finished dataset, or one that can have no second version; AnotherRun where a run is at work."""
    folder = open_folder(uri)
    plan, _ = open_version(folder)
    require_own_version(plan, folder.root)
    with hold_lease(folder, purpose=purpose):
        complete_version(folder)  # what a killed command decided, before this one makes the next
        version = make(folder, plan)
        if version is not None:
            complete_version(folder, version)
        return version
