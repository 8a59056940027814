"""CSV records (RFC 4180), each with its place in the text. What does not parse is refused by its first line, and reading continues with the next one.

Lines are parsed many at a time; the record at which that ends (damaged, or not complete yet) is read alone, and then many again.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from embermill.jobs.corpus.lines import BYTE_ORDER_MARK, LineBlock, LongLine
from embermill.jobs.corpus.rows import Fault

csv.field_size_limit(2**31 - 1)  # ours bounds whole records


class Line(NamedTuple):
    """A physical line with its end. offset: in the uncompressed text. too_long: its length, where its bytes were passed over."""

    data: bytes
    offset: int
    too_long: int = 0


@dataclass(frozen=True)
class Records:
    """Consecutive records. fields: of each, none where it has a fault. offsets: of their first bytes. faults: record -> why it cannot be used."""

    fields: list[list[str]]
    offsets: list[int]
    faults: dict[int, Fault]


class _RecordTooLong(Exception):
    pass


@dataclass
class CsvParser:
    """Draws lines from blocks and makes records of them. max_record_bytes: how far an open quote may reach. saw_nul: in what was drawn so far."""

    blocks: Iterator[LineBlock | LongLine]
    max_record_bytes: int
    delimiter: str = ","
    pending: deque[Line] = field(default_factory=deque)
    taken: list[Line] = field(default_factory=list)
    taken_bytes: int = 0
    saw_nul: bool = False

    def __iter__(self) -> Iterator[Records]:
        while self.pending or self._refill():
            many = self._many()
            if many.fields:
                yield many
            if self.pending:
                one = self._one()
                if one.fields:
                    yield one

    def first(self) -> Records | None:
        """The first record alone, for the header; None where there is none."""
        while self.pending or self._refill():
            one = self._one()
            if one.fields:
                return one
        return None

    def _refill(self) -> bool:
        """The next block's lines; False at the end."""
        block = next(self.blocks, None)
        if block is None:
            return False
        if isinstance(block, LongLine):
            self.pending.append(Line(b"", block.offset, block.length))
            return True
        offset, self.saw_nul = block.offset, self.saw_nul or b"\0" in block.data
        for data in _split(block.data):
            self.pending.append(Line(data.removeprefix(BYTE_ORDER_MARK) if offset == 0 else data, offset))
            offset += len(data)
        return True

    def _many(self) -> Records:
        """As many of the pending lines as parse plainly; the others stay."""
        fields: list[list[str]] = []
        ends: list[int] = []
        reader = csv.reader(self._plain_lines(), strict=True, delimiter=self.delimiter)
        try:
            for record in reader:
                fields.append(record)
                ends.append(reader.line_num)
        except csv.Error:
            pass
        used = [self.pending.popleft() for _ in range(ends[-1] if ends else 0)]
        offsets = [used[start].offset for start in (0, *ends[:-1])] if ends else []
        if [] in fields:  # a blank line is no record
            offsets = [offset for record, offset in zip(fields, offsets, strict=True) if record]
            fields = [record for record in fields if record]
        return Records(fields, offsets, {})

    def _plain_lines(self) -> Iterator[str]:
        """Pending lines up to the first that needs care; drawn one by one, so that a damaged record costs no more than what leads to it."""
        for line in self.pending:
            if line.too_long:
                return
            try:
                yield line.data.decode()
            except UnicodeDecodeError:
                return

    def _one(self) -> Records:
        """The record that begins with the first pending line."""
        self.taken, self.taken_bytes = [], 0
        try:
            record = next(csv.reader(self._lines_of_one(), strict=True, delimiter=self.delimiter))
        except (csv.Error, _RecordTooLong) as error:
            fault = self._refused(error)
            return Records([[]], [self.taken[0].offset], {0: fault})
        if not record:
            return Records([], [], {})
        valid = all(_is_utf8(line.data) for line in self.taken)
        return Records([record], [self.taken[0].offset], {} if valid else {0: Fault("invalid_utf8", "bytes that are no UTF-8")})

    def _lines_of_one(self) -> Iterator[str]:
        while self.pending or self._refill():
            line = self.pending.popleft()
            self.taken.append(line)
            self.taken_bytes += len(line.data)
            if line.too_long or self.taken_bytes > self.max_record_bytes:
                raise _RecordTooLong
            yield line.data.decode(errors="surrogateescape")

    def _refused(self, error: Exception) -> Fault:
        """Why the first line taken is refused; the others are read again."""
        first, *others = self.taken
        self.pending.extendleft(reversed(others))
        if first.too_long or len(first.data) > self.max_record_bytes:
            return Fault("text_too_long", f"a line of {first.too_long or len(first.data)} bytes")
        if isinstance(error, _RecordTooLong):
            return Fault("unparsable_line", f"a quoted field that is not closed within {self.max_record_bytes} bytes")
        lone = "a carriage return outside quotes that ends no line: lines end at \\n or \\r\\n"
        return Fault("unparsable_line", lone if "new-line character" in str(error) else str(error))


def parse_csv(blocks: Iterable[LineBlock | LongLine], max_record_bytes: int, delimiter: str = ",") -> CsvParser:
    return CsvParser(iter(blocks), max_record_bytes, delimiter)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _split(data: bytes) -> list[bytes]:
    """Physical lines with their ends. bytes.splitlines would split at a lone carriage return too."""
    lines = [line + b"\n" for line in data.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines
