"""A format that no release reads, whole in one file: records of 32 bytes, an id of 8 and a text of 24, both padded with blanks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa

from embermill.jobs.corpus.columns import ColumnFitter, check_file
from embermill.jobs.corpus.formats.format import BatchSize, Wanted
from embermill.jobs.corpus.pieces import Piece, cut_rows
from embermill.jobs.corpus.rows import RawRows, RefusedRange, RowSchema
from embermill.jobs.corpus.surveyed import SurveyedFile
from embermill.jobs.errors import DataError
from embermill.jobs.partition import Segment
from embermill.jobs.storage import InputFile

ID, TEXT = 8, 24
RECORD = ID + TEXT
TYPES = {"id": pa.string(), "text": pa.string()}


def record(identity: str, text: str) -> bytes:
    return identity.encode().ljust(ID) + text.encode().ljust(TEXT)


class FixedWidth:
    name = "fixed"
    suffixes: tuple[str, ...] = (".fixed",)
    not_compressed = "records are found by their places: unpack it"
    infers_types = False

    def survey(self, source: InputFile, file: SurveyedFile, wanted: Wanted, *, sampled: bool) -> SurveyedFile:
        rows, rest = divmod(file.info.size, RECORD)
        if rest:
            raise DataError(f"{file.info.path}: expected records of {RECORD} bytes, got {file.info.size} bytes")
        return replace(file, types=TYPES, rows=rows, expected_rows=rows, text_bytes=rows * TEXT)

    def first_rows(self, file: SurveyedFile, limit: int, max_text_bytes: int) -> SurveyedFile:
        rows = min(limit, file.rows or 0)
        return replace(file, rows=rows, expected_rows=rows, text_bytes=rows * TEXT)

    def cut(self, file: SurveyedFile, target_bytes: int) -> Iterator[Piece]:
        for start, end in cut_rows(file.rows or 0, file.text_bytes, target_bytes):
            yield Piece(file.segment("rows", start, end), (end - start) * TEXT)

    def read(self, source: InputFile, segment: Segment, schema: RowSchema, batch: BatchSize) -> Iterator[RawRows | RefusedRange]:
        check_file(schema, segment.path, TYPES)
        fitter = ColumnFitter(schema)
        source.seek(segment.start * RECORD)
        for first in range(segment.start, segment.end, batch.rows):
            count = min(batch.rows, segment.end - first)
            data = source.read(count * RECORD)
            records = [data[place : place + RECORD].decode() for place in range(0, len(data), RECORD)]
            columns = {"id": pa.array([each[:ID].strip() or None for each in records]), "text": pa.array([each[ID:].strip() for each in records])}
            ids, texts, kept, faults = fitter.fit(count, columns)
            yield RawRows(count, ids, texts, kept, np.arange(first, first + count, dtype=np.int64), None, faults)

    def has_byte_ranges(self, compression: str | None) -> bool:
        return False

    def rows_lost(self, source: InputFile, entry: Mapping[str, object]) -> str:
        found = source.size // RECORD
        return "" if found == entry["rows"] else f"it holds {found} rows, expected {entry['rows']} as planned"
