"""How vectors are taken from files that hold some: as they are stored there, byte for byte, where the form is the plan's; else as float32, to be encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from embermill.jobs.engine import StoredRows
from embermill.jobs.plan.files import Plan
from embermill.jobs.shard.contents import open_parquet, to_matrix
from embermill.jobs.storage import Folder
from embermill.jobs.vectors.form import FLOAT32, StoredVector

COUNTS = ("num_tokens", "num_tokens_dropped")


@dataclass(frozen=True)
class Reading:
    """stored: whether codes are taken as they are. columns: column of the file -> stored column of the plan, or output column of the engine."""

    stored: bool
    columns: Mapping[str, str]


def reading_of(plan: Plan, held: Sequence[StoredVector]) -> Reading | None:
    """held: the columns of the files. None where they hold neither the plan's own forms nor float32 of all that the engine makes."""
    if plan.vectors and {*plan.vectors} <= {*held}:
        return Reading(True, {vector.column: vector.column for vector in plan.vectors})
    floats: dict[str, str] = {}
    for output in plan.outputs:
        whole = [each.column for each in held if each.dtype == FLOAT32 and each.source == output.column and each.dim == output.dim]
        if not whole:
            return None
        floats[output.column if output.column in whole else whole[0]] = output.column
    return Reading(False, floats)


class HeldVectors:
    """What is known of N rows. floats: output column -> [N, dim] float32, NaN where nothing is known. codes: stored column -> [N, width]; stored: [N] bool,
    of which rows they are, whose floats are 0. counts: tokens of each."""

    def __init__(self, rows: int, plan: Plan) -> None:
        self.floats: dict[str, np.ndarray] = {output.column: np.full((rows, output.dim), np.nan, np.float32) for output in plan.outputs}
        self.codes: dict[str, np.ndarray] = {vector.column: np.zeros((rows, vector.width), vector.numpy_type) for vector in plan.vectors}
        self.counts: dict[str, np.ndarray] = {name: np.zeros(rows, np.int32) for name in COUNTS}
        self.stored: np.ndarray = np.zeros(rows, bool)

    def put(self, at: np.ndarray, other: HeldVectors, rows: np.ndarray | slice = slice(None)) -> None:
        """Rows of another one, at these places."""
        for mine, theirs in ((self.floats, other.floats), (self.codes, other.codes), (self.counts, other.counts)):
            for name, values in mine.items():
                values[at] = theirs[name][rows]
        self.stored[at] = other.stored[rows]

    @property
    def stored_rows(self) -> StoredRows | None:
        return StoredRows(self.stored, self.codes) if self.codes else None


def read_vectors(folder: Folder, name: str, rows: np.ndarray, plan: Plan, reading: Reading) -> tuple[HeldVectors, np.ndarray]:
    """Of these rows of a file: vectors and counts, and digests. Only row groups that hold one of them are read."""
    found, digests, first = HeldVectors(len(rows), plan), np.zeros((len(rows), 2), np.uint64), 0
    wanted = found.codes if reading.stored else found.floats
    with folder.open(name) as file, open_parquet(file) as parquet:
        for group in range(parquet.num_row_groups):
            count = parquet.metadata.row_group(group).num_rows
            here = np.flatnonzero((rows >= first) & (rows < first + count))
            if len(here):
                table = parquet.read_row_group(group, [*reading.columns, *COUNTS, "text_hash"], use_threads=False)
                at = rows[here] - first
                for column, mine in reading.columns.items():
                    wanted[mine][here] = to_matrix(table.column(column))[at]
                for column in COUNTS:
                    found.counts[column][here] = table.column(column).to_numpy()[at]
                hashes = table.column("text_hash").take(pa.array(at)).to_pylist()
                digests[here] = np.frombuffer(bytes.fromhex("".join(hashes)), "<u8").reshape(-1, 2)
                if reading.stored:
                    found.stored[here] = True
            first += count
    if reading.stored:
        for values in found.floats.values():
            values[found.stored] = 0
    return found, digests
