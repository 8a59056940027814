"""Plain text: a document a line, in one column called `text`. An empty line is an empty text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from embermill.jobs.corpus.columns import ColumnFitter, check_file
from embermill.jobs.corpus.formats.format import Wanted
from embermill.jobs.corpus.formats.line_format import LineFormat
from embermill.jobs.corpus.formats.line_sample import LinesSample, ended
from embermill.jobs.corpus.lines import HOLDS_NUL, LineBlock, LongLine, bounds, nul_rows, strings
from embermill.jobs.corpus.rows import Fault, RawRows, RefusedRange, RowSchema


def read_text(blocks: Iterable[LineBlock | LongLine], schema: RowSchema, path: str, *, numbered: bool) -> Iterator[RawRows | RefusedRange]:
    """numbered: read front to back, so that rows have numbers as well as bytes."""
    check_file(schema, path, {"text": pa.string()})
    fitter = ColumnFitter(schema)
    row = 0
    for block in blocks:
        if isinstance(block, LongLine):
            fault = Fault("text_too_long", f"a line of {block.length} bytes, more than corpus.max_text_bytes: {schema.max_text_bytes}", block.length)
            yield RefusedRange(1, row if numbered else None, block.offset, fault)
            row += 1
            continue
        starts, ends = bounds(block)
        ids, texts, kept, faults = fitter.fit(len(starts), {"text": strings(block.data, starts, ends)})
        if schema.refuses_nul:
            faults |= {number: Fault("unparsable_line", HOLDS_NUL) for number in nul_rows(block, starts)}
        first_byte = _line_starts(starts, block.offset)
        yield RawRows(len(starts), ids, texts, kept, np.arange(row, row + len(starts), dtype=np.int64) if numbered else None, first_byte, faults)
        row += len(starts)


def _line_starts(starts: np.ndarray, offset: int) -> np.ndarray:
    """Offsets in the uncompressed text; a byte order mark belongs to the first line."""
    if offset == 0 and len(starts):
        starts = starts.copy()
        starts[0] = 0
    return starts + offset


class Text(LineFormat):
    name = "text"
    suffixes: tuple[str, ...] = (".txt", ".text")

    def sample(self, blocks: list[LineBlock], path: str, wanted: Wanted) -> LinesSample:
        size = sum(len(block.data) for block in blocks)
        return LinesSample({"text": pa.string()}, {}, ended(blocks), size, sum(block.data.count(b"\n") for block in blocks), size)

    def read_blocks(
        self, blocks: Iterable[LineBlock | LongLine], schema: RowSchema, path: str, *, numbered: bool, max_line_bytes: int
    ) -> Iterator[RawRows | RefusedRange]:
        return read_text(blocks, schema, path, numbered=numbered)

    def max_line_bytes(self, schema: RowSchema) -> int:
        return schema.max_text_bytes
