"""Which ids a dataset knows at all: in rows of any version, live or not, in lists of deletes, the quarantine, or what is kept of syncs and of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.chunking.ids import documents_of
from embermill.jobs.dataset.metadata.receipt_table import ERASED
from embermill.jobs.plan.files import Plan
from embermill.jobs.shard.contents import Damaged, open_parquet, row_groups
from embermill.jobs.storage import Folder
from embermill.jobs.storage.local import TMP

Column = tuple[str, bool]  # its name; whether its ids are of chunks


@dataclass(frozen=True)
class Known:
    """ids: [N] bool, which of the ids that were asked for some file names. unread: files that could not be read, and may name any."""

    ids: np.ndarray
    unread: tuple[str, ...]

    @property
    def may_hold(self) -> bool:
        return bool(self.ids.any() or self.unread)


def find_ids(folder: Folder, plan: Plan, ids: pa.Array, may_hold: Callable[[str], bool]) -> Known:
    """ids: each once, of the dataset's type; of a dataset of chunks they are documents. may_hold: the names of files that are looked into."""
    found, unread, texts = np.zeros(len(ids), bool), list[str](), ids.cast(pa.string())
    for name, _ in folder.list():
        if found.all():
            break
        if name.startswith(f"{TMP}/") or not name.endswith((".parquet", ".pq")) or not may_hold(name):
            continue
        try:
            for named in _ids_in(folder, name, [*_columns(name, plan)]):
                places = pc.drop_null(pc.index_in(named, texts))
                found[places.to_numpy(zero_copy_only=False)] = True
        except (Damaged, FileNotFoundError):
            unread.append(name)
    return Known(found, tuple(unread))


def _columns(name: str, plan: Plan) -> Iterator[Column]:
    """Those that a file may have."""
    yield plan.rows.key_name, False
    if plan.rows.is_chunked:
        yield plan.rows.id_name, True
    if name.startswith(("_embermill/", "quarantine/")):
        yield "id", False
        yield from ((column, plan.rows.is_chunked) for column in ERASED)


def _ids_in(folder: Folder, name: str, columns: Sequence[Column]) -> Iterator[pa.Array]:
    """As text, of documents where the dataset is one of chunks."""
    with folder.open(name) as file, open_parquet(file) as parquet:
        there = [column for column in columns if column[0] in parquet.schema_arrow.names]
        for table in row_groups(parquet, sorted({column for column, _ in there})) if there else ():
            for column, of_chunks in there:
                ids = table.column(column).cast(pa.string()).combine_chunks()
                yield documents_of(ids) if of_chunks else ids
