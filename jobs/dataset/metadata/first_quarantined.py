"""One example of what was refused, for the summary of a run."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from embermill.jobs.errors import JobError
from embermill.jobs.shard.quarantine import first_entry
from embermill.jobs.storage import Folder


def first_quarantined(folder: Folder, table: pa.Table) -> dict[str, Any] | None:
    """The first entry of the quarantine. table: receipt_table.SCHEMA, in row order. None where nothing was refused."""
    names = table.column("quarantine").drop_null()
    return example_of(folder, names[0].as_py()) if len(names) else None


def example_of(folder: Folder, name: str) -> dict[str, Any] | None:
    """The first entry of a quarantine file. Where that cannot be read there is none, and `verify` is who says so."""
    try:
        with folder.open(name) as file:
            return first_entry(file)
    except (JobError, OSError):
        return None
