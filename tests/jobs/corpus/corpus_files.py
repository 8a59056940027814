"""Corpus files for tests: written, described as segments and read back row by row."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from embermill.jobs.corpus.pieces import Piece as Piece
from embermill.jobs.corpus.reading import read_rows
from embermill.jobs.corpus.rows import Refusal, RowBatch, RowSchema
from embermill.jobs.partition import Segment
from embermill.jobs.plan.packing import pack
from embermill.jobs.storage.local import file_info


def schema(
    *,
    id_column: str | None = "id",
    id_type: pa.DataType | None = None,
    text: tuple[str, ...] = ("text",),
    kept: dict[str, pa.DataType] | None = None,
    separator: str = "\n",
    max_text_bytes: int = 1 << 20,
    drift: str = "fail",
    bad_file: str = "fail",
) -> RowSchema:
    return RowSchema(
        id_column or "id",
        id_column,
        id_type or pa.string(),
        text,
        separator,
        tuple((name, name, kind) for name, kind in (kept or {}).items()),
        max_text_bytes,
        drift,
        bad_file,
        json_ids_as_text=False,
    )


def segment(path: Path, form: str, *, kind: str = "whole", start: int = 0, end: int | None = None, compression: str | None = None, name: str = "") -> Segment:
    info = file_info(path)
    return Segment(info.path, name or path.name, form, compression, info.size, info.version, kind, start, info.size if end is None else end)


@dataclass(frozen=True)
class Found:
    """Everything that reading gave, rows and refusals checked against each other."""

    rows: dict[int, tuple[Any, str]]
    kept: list[tuple[Any, ...]]
    refused: list[Refusal]
    num_rows: int
    batches: list[RowBatch]

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.rows.values()]

    @property
    def ids(self) -> list[Any]:
        return [identity for identity, _ in self.rows.values()]

    @property
    def reasons(self) -> list[str]:
        return [refusal.reason for refusal in self.refused]


def read(segments: Segment | Iterable[Segment], rows: RowSchema, **bounds: int) -> Found:
    (partition,) = pack([Piece(one, 0) for one in ([segments] if isinstance(segments, Segment) else segments)], 1 << 60)
    batches = list(read_rows(partition, rows, **bounds))  # type: ignore[arg-type]
    found: dict[int, tuple[Any, str]] = {}
    kept: list[tuple[Any, ...]] = []
    refused: list[Refusal] = []
    expected = 0
    for batch in batches:
        assert batch.first_row == expected
        expected += batch.num_rows
        assert batch.ids.type == rows.id_type and batch.texts.type == pa.string() and not batch.texts.null_count and not batch.ids.null_count
        assert [column.type for column in batch.kept] == [kind for _, _, kind in rows.kept]
        assert len(batch.ids) == len(batch.texts) == len(batch.rows) and all(len(column) == len(batch.ids) for column in batch.kept)
        assert batch.num_rows == len(batch.ids) + sum(refusal.row_count for refusal in batch.refused)
        found.update(zip(batch.rows.tolist(), zip(batch.ids.to_pylist(), batch.texts.to_pylist(), strict=True), strict=True))
        kept.extend(zip(*(column.to_pylist() for column in batch.kept), strict=True))
        refused.extend(batch.refused)
    covered = [*found, *(row for refusal in refused for row in range(refusal.row, refusal.row + refusal.row_count))]
    assert sorted(covered) == list(range(expected))
    return Found(found, kept, refused, expected, batches)


def compress(data: bytes, codec: str) -> bytes:
    return gzip.compress(data, mtime=0) if codec == "gzip" else pa.compress(data, codec=codec, asbytes=True)
