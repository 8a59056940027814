"""What formats of lines have in common: they are surveyed by a sample, cut by bytes, compressed as a whole or not at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace

import pyarrow as pa

from embermill.jobs.corpus.formats.format import BatchSize, Wanted
from embermill.jobs.corpus.formats.line_sample import COMPRESSION_RATIO, LinesSample, beginning
from embermill.jobs.corpus.lines import BLOCK_BYTES, DamagedStream, LineBlock, LongLine, line_blocks, open_text, range_blocks, require_narrow
from embermill.jobs.corpus.pieces import Piece, cut_bytes
from embermill.jobs.corpus.rows import Fault, RawRows, RefusedRange, RowSchema
from embermill.jobs.corpus.surveyed import SurveyedFile
from embermill.jobs.partition import Segment
from embermill.jobs.storage import InputFile, open_input

MARKED_UP = 8  # a line of JSON or CSV may be that much longer than the text in it: escapes, other columns
MARK_BYTES = 4  # of the longest byte order mark
NO_BATCH = BatchSize(0, 0)  # a batch of lines is what was read of the file in one go


class LineFormat(ABC):
    """A Format but for its name, its suffixes and two methods. ends_rows: every line end is a row's; False where only reading front to back tells."""

    name: str
    suffixes: tuple[str, ...]
    not_compressed = ""
    infers_types = False
    ends_rows = True

    @abstractmethod
    def sample(self, blocks: list[LineBlock], path: str, wanted: Wanted) -> LinesSample:
        """blocks: the file's beginning, as `beginning` gives it. DataError for a file that cannot be one of this format."""

    @abstractmethod
    def read_blocks(
        self, blocks: Iterable[LineBlock | LongLine], schema: RowSchema, path: str, *, numbered: bool, max_line_bytes: int
    ) -> Iterator[RawRows | RefusedRange]:
        """numbered: read front to back, so that rows have numbers as well as bytes."""

    def max_line_bytes(self, schema: RowSchema) -> int:
        """Longer lines are refused without being held."""
        return MARKED_UP * schema.max_text_bytes + BLOCK_BYTES

    def survey(self, source: InputFile, file: SurveyedFile, wanted: Wanted, *, sampled: bool) -> SurveyedFile:
        expanded = file.info.size * (1 if file.compression is None else COMPRESSION_RATIO)
        if not sampled:
            if file.compression is None:
                require_narrow(source.read(MARK_BYTES), file.info.path)
            else:
                source.read(1)
            return replace(file, text_bytes=expanded, all_columns=False)
        blocks = list(beginning(source, file.info.path, file.compression))
        require_narrow(blocks[0].data if blocks else b"", file.info.path)
        sample = self.sample(blocks, file.info.path, wanted)
        if not sample.size:
            return replace(file, types=sample.types, rows=0)
        expanded = max(1, expanded if file.compression is None or not sample.whole else sample.size)
        share = min(1.0, max(0.01, sample.text_bytes / sample.size)) if sample.text_bytes else 1.0
        rows = max(1, sample.rows)
        all_columns = bool(sample.whole and sample.types) and not any(map(pa.types.is_null, sample.types.values()))  # a null may become anything further on
        return replace(
            file,
            types=sample.types,
            mixed=sample.mixed,
            text_bytes=int(expanded * share),
            all_columns=all_columns,
            kept_row_bytes=sample.kept_bytes // rows,
            expected_rows=expanded * rows // max(1, sample.size),
        )

    def first_rows(self, file: SurveyedFile, limit: int, max_text_bytes: int) -> SurveyedFile:
        """Counted by reading them."""
        rows = end = 0
        schema = RowSchema("id", None, pa.string(), ("text",), "", (), max_text_bytes, "null", "quarantine", delimiter=file.delimiter)
        has_ranges = self.has_byte_ranges(file.compression)
        segment = file.segment("bytes" if has_ranges else "whole", 0, file.info.size)
        with closing(open_input(segment.path, segment.size, segment.version)) as source:
            for raw in self.read(source, segment, schema, NO_BATCH):
                found = raw.row_count if isinstance(raw, RefusedRange) else raw.num_rows
                taken = min(found, limit - rows)
                if taken:
                    last = raw.first_byte if isinstance(raw, RefusedRange) or raw.first_byte is None else raw.first_byte[taken - 1]
                    end = 0 if last is None else int(last) + 1
                rows += taken
                if rows == limit:
                    head = ("bytes", 0, end) if has_ranges else ("head", 0, rows)
                    text_bytes = end if has_ranges else min(file.text_bytes, end)
                    return replace(file, rows=rows, expected_rows=rows, head=head, text_bytes=text_bytes)
        return replace(file, rows=rows, expected_rows=rows)

    def cut(self, file: SurveyedFile, target_bytes: int) -> Iterator[Piece]:
        if self.has_byte_ranges(file.compression):
            for start, end in cut_bytes(file.info.size, file.text_bytes, target_bytes):
                yield Piece(file.segment("bytes", start, end), file.text_bytes * (end - start) // file.info.size)
        elif file.info.size:
            yield Piece(file.segment("whole", 0, file.info.size), file.text_bytes)

    def read(self, source: InputFile, segment: Segment, schema: RowSchema, batch: BatchSize) -> Iterator[RawRows | RefusedRange]:
        row = 0
        try:
            for raw in self._read_lines(source, segment, schema):
                source.check()
                yield raw
                row += raw.row_count if isinstance(raw, RefusedRange) else raw.num_rows
        except DamagedStream as error:
            if schema.on_bad_file == "fail":
                raise
            yield RefusedRange(1, row, None, Fault("unreadable_file", f"the rest of the file: {error}"))

    def _read_lines(self, source: InputFile, segment: Segment, schema: RowSchema) -> Iterator[RawRows | RefusedRange]:
        numbered, longest = segment.kind != "bytes", self.max_line_bytes(schema)
        if numbered:
            blocks = line_blocks(open_text(source, segment.compression, segment.path), 0, None, longest)
        else:
            blocks = range_blocks(source, segment.start, segment.end, longest)
        return self.read_blocks(blocks, schema, segment.path, numbered=numbered, max_line_bytes=longest)

    def has_byte_ranges(self, compression: str | None) -> bool:
        return self.ends_rows and compression is None

    def rows_lost(self, source: InputFile, entry: Mapping[str, object]) -> str:
        """What is read front to back is read to its end, wherever that is now."""
        size, compression = int(str(entry["size"])), entry["compression"]
        if not self.has_byte_ranges(None if compression is None else str(compression)) or source.size <= size or not size:
            return ""
        source.seek(size - 1)
        return "" if source.read(1) == b"\n" else "it grew, and not by whole lines at its end"
