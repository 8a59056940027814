"""What a look at the beginning of a file of lines tells: its columns, their types, and how much of it is text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from embermill.jobs.corpus.csv import read_header
from embermill.jobs.corpus.csv_records import parse_csv
from embermill.jobs.corpus.json_values import kinds_seen, parse, type_of
from embermill.jobs.corpus.lines import BYTE_ORDER_MARK, ByteStream, LineBlock, line_blocks, open_text
from embermill.jobs.storage import InputFile

SAMPLE_BYTES = 1 << 20  # JSONL ids and kept columns take the types seen in here
COMPRESSION_RATIO = 4  # guessed: only reading all of it would tell
LONGEST_SAMPLED_LINE = 64 << 20


@dataclass(frozen=True)
class LinesSample:
    """types: columns seen; null for one without a value. mixed: what is in a column whose values have no common type, in words.

    whole: the sample was the whole file. rows, text_bytes, kept_bytes: of the sample.
    """

    types: dict[str, pa.DataType] = field(default_factory=dict)
    mixed: dict[str, str] = field(default_factory=dict)
    whole: bool = True
    size: int = 0
    rows: int = 0
    text_bytes: int = 0
    kept_bytes: int = 0


def sample_lines(source: InputFile, path: str, form: str, compression: str | None, text_columns: tuple[str, ...], kept_columns: tuple[str, ...]) -> LinesSample:
    """DataError for a header that cannot be one, and for compressed data that do not decompress."""
    blocks = _beginning(source, path, compression)
    if form == "text":
        found = list(blocks)
        size = sum(len(block.data) for block in found)
        return LinesSample({"text": pa.string()}, {}, _ended(found), size, sum(block.data.count(b"\n") for block in found), size)
    if form == "csv":
        return _sample_csv(list(blocks), path, kept_columns)
    return _sample_jsonl(list(blocks), text_columns, kept_columns)


def _beginning(source: InputFile, path: str, compression: str | None) -> Iterator[LineBlock]:
    """Whole lines of the first MiB, and one block more so that the end is seen. No more of a file is read than LONGEST_SAMPLED_LINE, whatever is in it."""
    size = 0
    stream = _Beginning(open_text(source, compression, path), LONGEST_SAMPLED_LINE)
    for block in line_blocks(stream, 0, None, LONGEST_SAMPLED_LINE, SAMPLE_BYTES // 4):
        if isinstance(block, LineBlock):
            yield block
            size += len(block.data)
        if size >= SAMPLE_BYTES:
            break
    else:
        if stream.left > 0:
            return
    yield LineBlock(b"", size)


class _Beginning:
    """A stream that ends after so many bytes."""

    def __init__(self, stream: ByteStream, num_bytes: int) -> None:
        self._stream, self.left = stream, num_bytes

    def read(self, size: int, /) -> bytes:
        found = self._stream.read(min(size, self.left))
        self.left -= len(found)
        return found


def _ended(blocks: list[LineBlock]) -> bool:
    """The mark of a sample that is not the whole file is an empty last block."""
    return not (blocks and not blocks[-1].data)


def _sample_csv(blocks: list[LineBlock], path: str, kept_columns: tuple[str, ...]) -> LinesSample:
    parser = parse_csv(blocks, SAMPLE_BYTES)
    names = read_header(parser, path)
    rows = sum(len(records.fields) for records in parser)
    size = sum(len(block.data) for block in blocks)
    return LinesSample(dict.fromkeys(names, pa.string()), {}, True, size, rows, size, size if kept_columns else 0)


def _sample_jsonl(blocks: list[LineBlock], text_columns: tuple[str, ...], kept_columns: tuple[str, ...]) -> LinesSample:
    seen: dict[str, list[Any]] = {}
    size = rows = text_bytes = kept_bytes = 0
    for line in _sampled_lines(blocks):
        size += len(line) + 1
        try:
            found = parse(line)
        except (ValueError, RecursionError):  # the reader's to refuse
            continue
        if isinstance(found, dict):
            rows += 1
            text_bytes += sum(len(str(found.get(column) or "")) for column in text_columns)
            kept_bytes += sum(len(str(found.get(column) or "")) for column in kept_columns)
            for name, value in found.items():
                seen.setdefault(name, []).append(value)
    mixed = {name: " and ".join(kinds) for name, values in seen.items() if len(kinds := kinds_seen(values)) > 1}
    return LinesSample({name: type_of(values) for name, values in seen.items()}, mixed, _ended(blocks), size, rows, text_bytes, kept_bytes)


def _sampled_lines(blocks: list[LineBlock]) -> Iterator[str]:
    left = SAMPLE_BYTES
    for block in blocks:
        for line in block.data.removeprefix(BYTE_ORDER_MARK).split(b"\n"):
            if left <= 0:
                return
            left -= len(line) + 1
            yield line.decode(errors="replace")
