"""What a Parquet footer tells, and a sample of rows for what it hides: the size of dictionary-encoded text (42 MB of repeated text showed 5 KB)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embermill.jobs.corpus.arrow_types import plain_array
from embermill.jobs.corpus.parquet import leaves_of, open_parquet
from embermill.jobs.errors import DataError
from embermill.jobs.storage import InputFile

SAMPLED_GROUPS = 3
SAMPLED_ROWS = 512


@dataclass(frozen=True)
class RowGroup:
    """rows, and the bytes of text that are expected in them."""

    rows: int
    text_bytes: int


def survey_parquet(
    source: InputFile, path: str, text_columns: tuple[str, ...], kept_columns: tuple[str, ...]
) -> tuple[dict[str, pa.DataType], tuple[RowGroup, ...], int]:
    """(columns and their types, row groups, mean bytes of a row's kept columns). DataError for what is not Parquet."""
    with open_parquet(source, path) as file:
        names = file.schema_arrow.names
        if repeated := sorted(name for name, times in Counter(names).items() if times > 1):
            raise DataError(f"{path}: two columns of one name: {', '.join(repeated)}")
        types = dict(zip(names, file.schema_arrow.types, strict=True))
        groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        text = _Columns(file, [column for column in text_columns if column in types])
        kept = _Columns(file, [column for column in kept_columns if column in types])
        text_row_bytes = _row_bytes(file, groups, text)
        found = tuple(RowGroup(group.num_rows, max(text.footer_bytes(group), int(text_row_bytes * group.num_rows))) for group in groups)
        rows = max(1, sum(group.num_rows for group in groups))
        kept_row_bytes = max(int(_row_bytes(file, groups, kept)), sum(kept.footer_bytes(group) for group in groups) // rows)
        return types, found, kept_row_bytes


class _Columns:
    """Some columns of a file; of a table with thousands of others nothing else is looked at."""

    def __init__(self, file: pq.ParquetFile, names: list[str]) -> None:
        self.names = names
        self._leaves = leaves_of(file, names)

    def chunks(self, group: Any) -> Iterator[Any]:
        return (group.column(number) for number in self._leaves)

    def footer_bytes(self, group: Any) -> int:
        return sum(chunk.total_uncompressed_size for chunk in self.chunks(group))


def _row_bytes(file: pq.ParquetFile, groups: list[Any], columns: _Columns) -> float:
    """Mean bytes of these columns in a sample of rows; 0 where the footer tells the truth (no dictionary), or nothing can be decoded."""
    filled = [number for number, group in enumerate(groups) if group.num_rows]
    if not filled or not any("DICTIONARY" in encoding for number in filled for chunk in columns.chunks(groups[number]) for encoding in chunk.encodings):
        return 0.0
    rows = size = 0
    for number in sorted({filled[len(filled) * part // SAMPLED_GROUPS] for part in range(SAMPLED_GROUPS)}):
        try:
            batch = next(file.iter_batches(SAMPLED_ROWS, row_groups=[number], columns=columns.names, use_threads=False), None)
        except (pa.ArrowException, ValueError, OSError):  # a damaged group is the reader's to report, with its range
            continue
        if batch is not None:
            rows += batch.num_rows
            size += sum(_bytes(column) for column in batch.columns)
    return size / rows if rows else 0.0


def _bytes(column: pa.Array) -> int:
    plain = plain_array(column)
    if pa.types.is_string(plain.type) or pa.types.is_large_string(plain.type) or pa.types.is_binary(plain.type):
        return pc.sum(pc.binary_length(plain)).as_py() or 0
    return int(plain.nbytes)
