"""The live rows of a dataset for its report: all lengths, and a seeded sample of rows with their vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embermill.jobs.dataset.metadata.inventory import Inventory
from embermill.jobs.dataset.metadata.receipt_table import sum_lengths, sum_receipts
from embermill.jobs.dataset.metadata.versions import FIRST, read_version
from embermill.jobs.dataset.views.live import LiveRows, open_rows, read_batches
from embermill.jobs.storage import Folder
from embermill.jobs.token_lengths import Histogram, count_lengths, merge_lengths
from embermill.jobs.vectors.codec import decode

MOST_FILES = 64  # that a sample is taken from
OURS = ("num_tokens", "num_tokens_dropped", "text_hash", "version", "uuid")


@dataclass(frozen=True)
class RowFile:
    """A file of rows. live: [rows] bool, which of them are; None: all."""

    name: str
    rows: int
    live: np.ndarray | None = None

    def places(self) -> np.ndarray:
        """Of its live rows."""
        return np.arange(self.rows) if self.live is None else np.flatnonzero(self.live)


@dataclass(frozen=True)
class Lengths:
    """Of all live rows. histogram: (a bucket's upper bound in tokens, rows)."""

    rows: int
    tokens: int
    tokens_dropped: int
    rows_truncated: int
    histogram: Histogram


@dataclass(frozen=True)
class Sample:
    """names: of the columns that are shown, the id first. values: [N] rows of them. vectors: [N, E] float32."""

    names: tuple[str, ...]
    values: list[tuple[object, ...]]
    vectors: np.ndarray


def row_files(folder: Folder, found: Inventory) -> tuple[RowFile, ...]:
    """Of the newest version; of a dataset that is not finished, what is committed."""
    if found.manifest is not None and (version := read_version(folder)).number > FIRST:
        return tuple(RowFile(live.file.name, live.file.rows, live.live) for live in LiveRows(folder, found.plan, version).files())
    names, rows = (found.receipts.column(name).to_pylist() for name in ("shard", "rows_out"))
    return tuple(RowFile(name, count) for name, count in zip(names, rows, strict=True) if name is not None)


def measure_lengths(folder: Folder, found: Inventory, files: Sequence[RowFile]) -> Lengths:
    """By the receipts where they tell of exactly these rows, else by two columns of every file."""
    if not any(file.live is not None for file in files) and sum(file.rows for file in files) == (totals := sum_receipts(found.receipts)).rows_out:
        return Lengths(totals.rows_out, totals.tokens, totals.tokens_dropped, totals.rows_truncated, sum_lengths(found.receipts))
    rows = tokens = dropped = truncated = 0
    histogram: Histogram = ()
    for file in files:
        for first, batch in read_batches(folder, file.name, ["num_tokens", "num_tokens_dropped"]):
            kept, lost = (batch.column(name).to_numpy().astype(np.int64) for name in ("num_tokens", "num_tokens_dropped"))
            if file.live is not None:
                mask = file.live[first : first + batch.num_rows]
                kept, lost = kept[mask], lost[mask]
            rows, tokens, dropped = rows + len(kept), tokens + int(kept.sum()), dropped + int(lost.sum())
            truncated += int(np.count_nonzero(lost))
            histogram = merge_lengths([histogram, count_lengths(kept)])
    return Lengths(rows, tokens, dropped, truncated, histogram)


def sample_rows(folder: Folder, found: Inventory, files: Sequence[RowFile], number: int, seed: int) -> Sample:
    """At most so many rows, the same ones for the same dataset and seed; of many files, of MOST_FILES of them, chosen by their rows."""
    form, random = found.plan.stored[0], np.random.default_rng(seed)
    sizes = np.array([len(file.places()) for file in files], np.int64)
    chosen = _choose_files(sizes, random)
    total = int(sizes[chosen].sum())
    picks = np.sort(random.choice(total, min(number, total), replace=False)) if total else np.empty(0, np.int64)
    ends = np.cumsum(sizes[chosen])
    names = _shown_columns(found)
    values, vectors = list[tuple[object, ...]](), list[np.ndarray]()
    for place, index in enumerate(chosen):
        first = int(ends[place] - sizes[index])
        mine = picks[(picks >= first) & (picks < ends[place])] - first
        if len(mine):
            table = _read(folder, files[index].name, files[index].places()[mine], [*names, form.column])
            vectors.append(decode(form, _matrix(table.column(form.column))))
            values += zip(*(table.column(name).to_pylist() for name in names), strict=True)
    empty = np.empty((0, form.dim), np.float32)
    return Sample(names, values, np.concatenate([empty, *vectors]).astype(np.float32))


def _choose_files(sizes: np.ndarray, random: np.random.Generator) -> list[int]:
    filled = np.flatnonzero(sizes)
    if len(filled) > MOST_FILES:
        filled = random.choice(filled, MOST_FILES, replace=False, p=sizes[filled] / sizes[filled].sum())
    return [int(index) for index in np.sort(filled)]


def _shown_columns(found: Inventory) -> tuple[str, ...]:
    """The id, kept columns that can be shown in a line, and the text where it is kept."""
    schema, identity = found.plan.schema, found.plan.rows.id_name
    hidden = {identity, *OURS}
    others = [field.name for field in schema if field.name not in hidden and not pa.types.is_nested(field.type)]
    return (identity, *sorted(others, key=lambda name: name != "text")[:3])


def _read(folder: Folder, name: str, places: np.ndarray, columns: Sequence[str]) -> pa.Table:
    """These rows of a file: only the row groups that hold them are read."""
    with open_rows(folder, name) as parquet:
        return pa.concat_tables(_groups(parquet, places, columns)).combine_chunks()


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    """[rows, E] as it is stored, of lists of a fixed size or plain ones."""
    array = pa.concat_arrays(column.chunks)
    return np.asarray(array.flatten().to_numpy(zero_copy_only=False)).reshape(len(array), -1)


def _groups(parquet: pq.ParquetFile, places: np.ndarray, columns: Sequence[str]) -> Iterator[pa.Table]:
    first = 0
    for number in range(parquet.num_row_groups):
        rows = parquet.metadata.row_group(number).num_rows
        mine = places[(places >= first) & (places < first + rows)] - first
        if len(mine):
            yield parquet.read_row_group(number, columns=[*columns]).select([*columns]).take(pa.array(mine))
        first += rows
