"""CSV with a header, read front to back: every field is a string, an empty one the empty string (as an id: none), quoted fields may hold line ends.

Fields stand apart by commas, or by what corpus.delimiter says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from embermill.counts import several
from embermill.jobs.corpus.columns import ColumnFitter, check_file
from embermill.jobs.corpus.csv_records import CsvParser, Records, parse_csv
from embermill.jobs.corpus.formats.format import Wanted
from embermill.jobs.corpus.formats.line_format import LineFormat
from embermill.jobs.corpus.formats.line_sample import SAMPLE_BYTES, LinesSample
from embermill.jobs.corpus.lines import HOLDS_NUL, LineBlock, LongLine
from embermill.jobs.corpus.rows import Fault, RawRows, RefusedRange, RowSchema
from embermill.jobs.corpus.surveyed import SurveyedFile
from embermill.jobs.errors import DataError

DELIMITERS = (";", "\t", "|", ",")  # that people use


def read_header(parser: CsvParser, path: str) -> list[str]:
    """The columns; none for an empty file. DataError for a header that cannot be one."""
    header = parser.first()
    if header is None:
        return []
    if header.faults:
        raise DataError(f"{path}: its header cannot be read: {header.faults[0].error}")
    names = header.fields[0]
    if repeated := sorted(name for name, times in Counter(names).items() if times > 1):
        raise DataError(f"{path}: two columns of one name: {', '.join(repeated)}")
    return names


def read_csv(blocks: Iterable[LineBlock | LongLine], schema: RowSchema, path: str, max_record_bytes: int) -> Iterator[RawRows | RefusedRange]:
    """Front to back; rows have numbers and bytes. A row with more or fewer fields than the header is refused alone."""
    parser = parse_csv(blocks, max_record_bytes, schema.delimiter)
    names = read_header(parser, path)
    if not names:
        return
    check_file(schema, path, dict.fromkeys(names, pa.string()))
    fitter = ColumnFitter(schema)
    row = 0
    for records in parser:
        if schema.refuses_nul and parser.saw_nul:
            records = replace(records, faults=_with_nul(records) | records.faults)
        yield _raw(records, names, fitter, row)
        row += len(records.fields)


def _with_nul(records: Records) -> dict[int, Fault]:
    return {row: Fault("unparsable_line", HOLDS_NUL) for row, fields in enumerate(records.fields) if any("\0" in field for field in fields)}


def _raw(records: Records, names: list[str], fitter: ColumnFitter, first: int) -> RawRows:
    count = len(records.fields)
    faults = {
        row: Fault("unparsable_line", f"{several(len(fields), 'field')}, while the header has {len(names)}")
        for row, fields in enumerate(records.fields)
        if len(fields) != len(names)
    } | records.faults
    columns = {}
    for name in fitter.schema.columns:
        if name in names:
            place = names.index(name)
            values = (
                [None if row in faults else fields[place] for row, fields in enumerate(records.fields)]
                if faults
                else [fields[place] for fields in records.fields]
            )
            if name == fitter.schema.id_column:
                values = [value or None for value in values]
            columns[name] = pa.array(values, pa.string())
    ids, texts, kept, uncastable = fitter.fit(count, columns)
    rows = np.arange(first, first + count, dtype=np.int64)
    return RawRows(count, ids, texts, kept, rows, np.array(records.offsets, np.int64), uncastable | faults)


def guess_delimiter(file: SurveyedFile) -> str | None:
    """Of a CSV file whose header was read as one column, what seems to separate several; None where nothing does."""
    if file.format != Csv.name or len(file.types) != 1:
        return None
    header = next(iter(file.types))
    found = max(DELIMITERS, key=header.count)
    return found if found in header else None


class Csv(LineFormat):
    """A line end may be within a field, so a file is only read front to back."""

    name = "csv"
    suffixes: tuple[str, ...] = (".csv",)
    ends_rows = False

    def sample(self, blocks: list[LineBlock], path: str, wanted: Wanted) -> LinesSample:
        parser = parse_csv(blocks, SAMPLE_BYTES, wanted.delimiter)
        names = read_header(parser, path)
        rows = sum(len(records.fields) for records in parser)
        size = sum(len(block.data) for block in blocks) if names else 0
        return LinesSample(dict.fromkeys(names, pa.string()), {}, True, size, rows, size, size if wanted.kept else 0)

    def read_blocks(
        self, blocks: Iterable[LineBlock | LongLine], schema: RowSchema, path: str, *, numbered: bool, max_line_bytes: int
    ) -> Iterator[RawRows | RefusedRange]:
        return read_csv(blocks, schema, path, max_line_bytes)
