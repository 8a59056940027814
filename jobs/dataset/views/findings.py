"""What is worth knowing of a dataset that is finished: duplicate ids, empty texts, corpus files that are not what was planned. `run` says it, and `status`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.dataset.metadata.manifest import FINDINGS as FINDINGS
from embermill.jobs.dataset.views.duplicates import DuplicateFinder
from embermill.jobs.errors import DataError
from embermill.jobs.plan.files import Plan
from embermill.jobs.shard.contents import open_parquet, row_groups
from embermill.jobs.shard.text_hash import hash_texts
from embermill.jobs.storage import Folder

MOST_ROWS = 20_000_000  # of which two columns are read again at the end of a run: seconds; `verify` looks at any number


@dataclass(frozen=True)
class Findings:
    """duplicate_ids: that several rows have; duplicate_rows: beyond the first of each. None: not looked for, in a dataset of more than MOST_ROWS rows.

    files_changed, files_gone: corpus files that were not as planned when the dataset was finished.
    """

    duplicate_ids: int | None = None
    duplicate_rows: int | None = None
    empty_texts: int | None = None
    files_changed: int = 0
    files_gone: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def look_at_rows(folder: Folder, plan: Plan, receipts: pa.Table) -> Findings:
    """receipts: receipt_table.SCHEMA. A shard that cannot be read leaves all unsaid: `verify` is who says so."""
    if (pc.sum(receipts.column("rows_out")).as_py() or 0) > MOST_ROWS:
        return Findings()
    empty, nothing = 0, hash_texts(pa.array([""]))[0]
    try:
        with DuplicateFinder() as finder:
            for number, name in enumerate(receipts.column("shard").drop_null().to_pylist()):
                row = 0
                with folder.open(name) as file, open_parquet(file) as parquet:
                    for table in row_groups(parquet, [plan.rows.id_name, "text_hash"]):
                        finder.add(table.column(plan.rows.id_name), number, row)
                        empty += pc.sum(pc.equal(table.column("text_hash"), nothing)).as_py() or 0
                        row += table.num_rows
            groups = [len(group) for group in finder.groups()]
    except (DataError, FileNotFoundError):
        return Findings()
    return Findings(len(groups), sum(groups) - len(groups), empty)
