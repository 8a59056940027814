"""What a look at the beginning of a file of lines tells: its columns, their types, and how much of it is text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

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


def beginning(source: InputFile, path: str, compression: str | None) -> Iterator[LineBlock]:
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


def ended(blocks: list[LineBlock]) -> bool:
    """The mark of a sample that is not the whole file is an empty last block."""
    return not (blocks and not blocks[-1].data)


def sampled_lines(blocks: list[LineBlock]) -> Iterator[str]:
    left = SAMPLE_BYTES
    for block in blocks:
        for line in block.data.removeprefix(BYTE_ORDER_MARK).split(b"\n"):
            if left <= 0:
                return
            left -= len(line) + 1
            yield line.decode(errors="replace")
