"""Why a version has no row, where that is because a sync refused all that it read: an empty dataset is finished, and would say nothing else of itself."""

from __future__ import annotations

import contextlib

import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.dataset.metadata.first_quarantined import example_of
from embermill.jobs.dataset.metadata.versions import Version
from embermill.jobs.errors import JobError
from embermill.jobs.shard.contents import Damaged, open_parquet
from embermill.jobs.shard.footer import QUARANTINE
from embermill.jobs.storage import Folder
from embermill.jobs.wording import all_quarantined


def why_empty(folder: Folder, version: Version) -> str | None:
    """version: the newest one. None where it has rows, and where no sync since has refused any. A sync that makes no version leaves its quarantine."""
    if version.totals["rows"]:
        return None
    by_number: dict[int, list[str]] = {}
    for name, _ in folder.list(QUARANTINE):
        number = name.removeprefix(f"{QUARANTINE}/").partition("/")[0]
        if number.isdigit() and int(number) >= version.number:
            by_number.setdefault(int(number), []).append(name)
    if not by_number:
        return None
    newest = max(by_number)
    rows = sum(_rows(folder, name) for name in by_number[newest])
    why = all_quarantined(rows, example_of(folder, by_number[newest][0]), f"{QUARANTINE}/{newest:06d}/")
    return f"no row of the corpus was embedded: {why}. Fix the corpus and run `embermill sync` again"


def _rows(folder: Folder, name: str) -> int:
    """An entry may stand for several; of a file that cannot be read, which `verify` names, none."""
    with contextlib.suppress(Damaged, JobError, OSError, pa.ArrowException), folder.open(name) as file, open_parquet(file) as parquet:
        return pc.sum(parquet.read(["row_count"]).column(0)).as_py() or 0
    return 0
