"""`history`: every decided version, what made it and what it changed. Reads no rows."""

from __future__ import annotations

from typing import Any

from embermill.jobs.dataset.metadata.retirement import retired_numbers
from embermill.jobs.dataset.metadata.versions import DOCUMENTS, live_documents, read_versions
from embermill.jobs.plan.files import require_plan
from embermill.jobs.storage import Folder

COMPACT, CHANGED = "compact", ("rows_upserted", "rows_deleted")
READABLE, COLLECTED, ABANDONED = "readable", "collected", "abandoned"


def history(folder: Folder) -> list[dict[str, Any]]:
    """One entry a number: state (READABLE, COLLECTED by `gc` or an erasure, ABANDONED), cause, created, parent, totals, counts of a sync."""
    chunked = require_plan(folder).rows.is_chunked
    retired = retired_numbers(folder)
    entries = []
    for version in read_versions(folder, files=False):
        state = ABANDONED if not version.is_committed else COLLECTED if version.number in retired else READABLE
        entry = {"version": version.number, "state": state, "cause": version.cause, "created": version.created, "parent": version.parent}
        made, counts, imported = version.totals, version.details.get("counts", {}), version.details.get("imported")
        if version.cause == COMPACT:  # it has its parent's, whose rows it holds; it changes none
            made, counts, imported = made | {key: 0 for key in CHANGED if key in made}, {}, None
        totals = made | ({DOCUMENTS: live_documents(folder, version)} if chunked and version.is_committed else {})
        entries.append(entry | {"totals": totals, "counts": counts, "imported": imported})
    return entries
