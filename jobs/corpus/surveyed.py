"""What a look at a corpus file found: its columns, rows and bytes of text."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from embermill.jobs.partition import Segment
from embermill.jobs.storage import FileInfo


@dataclass(frozen=True)
class RowGroup:
    """rows, and the bytes of text that are expected in them."""

    rows: int
    text_bytes: int


@dataclass(frozen=True)
class SurveyedFile:
    """What planning knows of one file. types: its columns. mixed: columns whose values have no common type, and what is in them, in words.
    groups: row groups, of a format that has any. text_bytes: estimate for the whole file.

    rows: None where only reading would tell; expected_rows: an estimate then. all_columns: a column that is not in `types` is not in the file.
    kept_row_bytes: mean bytes of a row's kept columns. error: why it cannot be read, "" where it can.
    delimiter: by which it was surveyed, if it is CSV.
    head: only the rows in this range are wanted (--limit): ("bytes", 0, end) or ("head", 0, rows).
    """

    info: FileInfo
    name: str
    format: str
    compression: str | None
    types: dict[str, pa.DataType] = field(default_factory=dict)
    mixed: dict[str, str] = field(default_factory=dict)
    all_columns: bool = True
    rows: int | None = None
    expected_rows: int = 0
    groups: tuple[RowGroup, ...] = ()
    text_bytes: int = 0
    kept_row_bytes: int = 0
    error: str = ""
    head: tuple[str, int, int] | None = None
    delimiter: str = ","

    def segment(self, kind: str, start: int, end: int) -> Segment:
        return Segment(self.info.path, self.name, self.format, self.compression, self.info.size, self.info.version, kind, start, end)
