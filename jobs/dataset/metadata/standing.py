"""Where a version is not as its corpus is, whichever sync left it so: rows that stay though no file gives them, or gives them refused, and refused rows.

In the details of a version: {"unseen", "stale", "refused": rows, or documents of a dataset of chunks; "stale_in": {number of a corpus file: rows}}. Versions
made before it was kept have what their own sync counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from embermill.jobs.dataset.metadata.versions import Version

STANDING, STALE_IN = "standing", "stale_in"
KEPT = ("unseen", "stale", "refused")


def standing_of(version: Version) -> dict[str, int]:
    """By KEPT."""
    details = version.details
    counts: Mapping[str, Any] = details.get("counts") or {}
    told: Mapping[str, Any] = details.get(STANDING) or {"unseen": counts.get("rows_unseen", 0), "stale": counts.get("rows_stale", 0)}
    return {kind: int(told.get(kind, 0)) for kind in KEPT}


def stale_in(version: Version) -> dict[int, int]:
    """Number of a corpus file -> rows that are stale for it."""
    told: Mapping[str, Any] = version.details.get(STANDING) or {}
    return {int(number): int(rows) for number, rows in (told.get(STALE_IN) or {}).items()}
