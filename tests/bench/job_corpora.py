"""Corpora for the job's measurements, made from the demo corpus: repeated with new ids, or very short rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def repeat(corpus: Path, folder: Path, times: int) -> Path:
    """The Parquet files of `corpus`, `times` times over, each copy's ids prefixed by its number, one file a copy. Returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.concat_tables([pq.read_table(file) for file in sorted(corpus.glob("*.parquet"))])
    ids = table.schema.get_field_index("id")
    for copy in range(times):
        renamed = pa.array([f"{copy:03d}/{value}" for value in table["id"].to_pylist()])
        pq.write_table(table.set_column(ids, "id", renamed), folder / f"copy-{copy:03d}.parquet", row_group_size=1000)
    return folder


def short_rows(folder: Path, rows: int = 2_000_000, files: int = 4) -> Path:
    """Texts of exactly 20 bytes with integer ids, in Parquet. Returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    offsets = lambda count: np.arange(0, 20 * (count + 1), 20, dtype=np.int32)  # noqa: E731
    for number, ids in enumerate(np.array_split(np.arange(rows), files)):
        letters = rng.integers(97, 123, 20 * len(ids), dtype=np.uint8)
        texts = pa.StringArray.from_buffers(len(ids), pa.py_buffer(offsets(len(ids))), pa.py_buffer(letters))
        pq.write_table(pa.table({"id": ids, "text": texts}), folder / f"short-{number:02d}.parquet", row_group_size=100_000, use_dictionary=False)
    return folder


def texts(corpus: Path, columns: tuple[str, ...] = ("title", "body")) -> Iterator[str]:
    """The texts that the job embeds: the columns joined by a line end, null parts skipped."""
    for file in sorted(corpus.glob("*.parquet")):
        table = pq.read_table(file, columns=list(columns))
        for parts in zip(*(table[column].to_pylist() for column in columns), strict=True):
            yield "\n".join(part for part in parts if part is not None)
