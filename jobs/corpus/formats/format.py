"""What a format of corpus files is to the rest of the job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from embermill.jobs.corpus.pieces import Piece
from embermill.jobs.corpus.rows import RawRows, RefusedRange, RowSchema
from embermill.jobs.corpus.surveyed import SurveyedFile
from embermill.jobs.partition import Segment
from embermill.jobs.storage import InputFile


@dataclass(frozen=True)
class BatchSize:
    """rows, text_bytes: a batch holds at most so many. row_bytes: the planner's estimate of a row's text, 0 where it has none."""

    rows: int
    text_bytes: int
    row_bytes: int = 0


@dataclass(frozen=True)
class Wanted:
    """The columns that a survey is about. delimiter: between fields of CSV."""

    texts: tuple[str, ...]
    kept: tuple[str, ...]
    delimiter: str = ","


class Format(Protocol):
    """name: in configurations and plans. suffixes: of names of its files, in lower case, without that of a compression.

    not_compressed: why a file of it that is compressed as a whole cannot be read; "" where it can.
    infers_types: a column's type is what its values look like in a sample, and each value is judged by itself when it is read.
    """

    name: str
    suffixes: tuple[str, ...]
    not_compressed: str
    infers_types: bool

    def survey(self, source: InputFile, file: SurveyedFile, wanted: Wanted, *, sampled: bool) -> SurveyedFile:
        """The file with what a look at it tells. sampled: False: only whether it can be read. DataError for what is not of this format."""
        ...

    def first_rows(self, file: SurveyedFile, limit: int, max_text_bytes: int) -> SurveyedFile:
        """The file cut to its first `limit` rows; of one that is shorter, with its number of rows."""
        ...

    def cut(self, file: SurveyedFile, target_bytes: int) -> Iterator[Piece]:
        """The file cut to ranges of about target_bytes bytes of text; whole where it can only be read front to back."""
        ...

    def read(self, source: InputFile, segment: Segment, schema: RowSchema, batch: BatchSize) -> Iterator[RawRows | RefusedRange]:
        """Every row of the segment, in order. DataError for schema drift, and for damage where the rest cannot be told."""
        ...

    def has_byte_ranges(self, compression: str | None) -> bool:
        """Whether any range of bytes can be read by itself, so that rows appended to a file leave the ranges before them as they were."""
        ...

    def rows_lost(self, source: InputFile, entry: Mapping[str, object]) -> str:
        """What is wrong with a file that is not as planned, "" where the planned ranges read all of it, or all but lines that were appended.

        entry: of the plan's listing. DataError where it cannot be read.
        """
        ...
