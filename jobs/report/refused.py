"""The quarantine of a dataset: how many rows each reason refused, with examples."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa

from embermill.jobs.dataset.metadata.inventory import Inventory
from embermill.jobs.dataset.views.bookkeeping import OF_LATER_QUARANTINE
from embermill.jobs.errors import JobError
from embermill.jobs.shard.contents import open_parquet, row_groups
from embermill.jobs.storage import Folder

EXAMPLES = 5  # of each reason
MOST_FILES = 500
LONGEST = 300  # characters of a value of an example
COLUMNS = ["id", "file", "first_row", "first_byte", "row_count", "reason", "error", "text_bytes"]


def describe_refused(folder: Folder, found: Inventory) -> dict[str, Any]:
    """{"rows": that the run refused, "rows_later", "rows_in_all", "reasons": [{"reason", "rows", "examples"}], "files", "files_read", "unreadable"}.

    rows: as the receipts say, exactly; reasons are counted in the files, of which at most MOST_FILES are read. Those of later versions are counted too,
    in reasons and in rows_later. A row that several versions refused counts in each; rows_in_all is the sum.
    """
    names = [name for name in found.receipts.column("quarantine").to_pylist() if name is not None]
    later = sorted(name for name, _ in folder.list("quarantine") if OF_LATER_QUARANTINE.fullmatch(name)) if found.manifest else []
    counts, examples, unreadable, rows_later = Counter[str](), dict[str, list[dict[str, Any]]](), 0, 0
    for name in [*names, *later][:MOST_FILES]:
        try:
            with folder.open(name) as file, open_parquet(file) as parquet:
                for table in row_groups(parquet, COLUMNS):
                    _take(table, counts, examples)
                    rows_later += sum(table.column("row_count").to_pylist()) if name in later else 0
        except (JobError, OSError, pa.ArrowException):
            unreadable += 1
    ordered = sorted(counts, key=lambda reason: (-counts[reason], reason))
    rows = sum(found.receipts.column("rows_quarantined").to_pylist())
    return {
        "rows": rows,
        "rows_later": rows_later,
        "rows_in_all": rows + rows_later,
        "reasons": [{"reason": reason, "rows": counts[reason], "examples": examples[reason]} for reason in ordered],
        "files": len(names) + len(later),
        "files_read": min(len(names) + len(later), MOST_FILES) - unreadable,
    }


def _take(table: pa.Table, counts: Counter[str], examples: dict[str, list[dict[str, Any]]]) -> None:
    for entry in table.to_pylist():
        reason = str(entry.pop("reason"))
        counts[reason] += entry["row_count"]
        if len(shown := examples.setdefault(reason, [])) < EXAMPLES:
            shown.append({key: shorten(value) for key, value in entry.items()})


def shorten(value: Any, longest: int = LONGEST) -> Any:
    """Texts cut to what can be shown."""
    return value if not isinstance(value, str) or len(value) <= longest else value[: longest - 1] + "…"
