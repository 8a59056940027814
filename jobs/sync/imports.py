"""`--import-vectors`: which files vectors are given in, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from embermill.jobs.config import CorpusConfig, JobConfig
from embermill.jobs.difference.importing import (
    BOUND,
    LOWEST_BOUND,
    Agreement,
    comparable_forms,
    compare_sample,
    list_imports,
    require_agreement,
    survey_imports,
)
from embermill.jobs.difference.writing import Writes
from embermill.jobs.errors import UsageError
from embermill.jobs.partition import Partition
from embermill.jobs.plan.files import Plan
from embermill.jobs.plan.planning import cut_corpus
from embermill.jobs.storage import FileInfo, Folder

TEXT_BYTES = 32 << 20  # of a partition of such files: a task holds one batch of it at a time


@dataclass(frozen=True)
class Imports:
    """The files as they are listed now. reading: how their rows are read. bound: of the cosines."""

    reading: CorpusConfig
    listed: Sequence[tuple[str, FileInfo]]
    bound: float

    def option(self) -> list[list[object]]:
        """What the version depends on."""
        return [[info.path, info.size, info.version] for _, info in self.listed]

    def partitions(self, plan: Plan) -> tuple[Partition, ...]:
        files = survey_imports(self.reading, self.listed, plan)
        return cut_corpus(files, TEXT_BYTES)

    def judge(self, folder: Folder, writes: Writes, names: Sequence[str], made: Sequence[str], plan: Plan) -> dict[str, Any] | None:
        """What is recorded, once the engine's own vectors say the same; None where no vector that is given is used. UsageError where they say otherwise.

        names: of what was read of the files. made: of the shards that the engine has embedded for this version.
        """
        count = _rows_from(folder, writes, names)
        agreement = compare_sample(folder, made, names, plan, self.bound)
        if agreement is not None:
            require_agreement(agreement)
        elif count:
            raise UsageError("--import-vectors: none of the texts that were to be embedded here for comparison could be: nothing is imported")
        return None if agreement is None else self.told(count, agreement)

    def told(self, vectors: int, agreement: Agreement) -> dict[str, Any]:
        return {"files": len(self.listed), "vectors": vectors} | agreement.to_json()


def look_at_imports(config: JobConfig, plan: Plan, files: Sequence[str], bound: float) -> Imports | None:
    """None where none are given."""
    if not files:
        return None
    comparable_forms(plan)
    reading, listed = list_imports(config.corpus, files, plan.outputs)
    return Imports(reading, listed, bound)


def require_bound(bound: float) -> None:
    if not LOWEST_BOUND <= bound <= 1:
        raise UsageError(f"--import-bound {bound:g}: expected a cosine from {LOWEST_BOUND} to 1; without it {BOUND} is required")


def _rows_from(folder: Folder, writes: Writes, names: Sequence[str]) -> int:
    """How many rows take their vector from one of these files."""
    sources = [number for number, source in enumerate(writes.sources) if source in {("", name) for name in names}]
    count = 0
    with folder.open(writes.rows["file"]) as file, pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        for group in range(parquet.num_row_groups):
            count += int(np.isin(parquet.read_row_group(group, ["source"]).column(0).to_numpy(), sources).sum())
    return count
