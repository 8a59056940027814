"""What a Parquet footer says about column chunks: sizes and encodings.

Arrow checks a chunk's metadata when it is first asked for, and throws where the size statistics, say, do not fit the schema. Its readers turn that into an
error; its Python binding of the footer does not, and the process aborts. So a reader is asked first, with a stand-in for the file that refuses to be read:
to buffer ahead, it looks at the metadata of every chunk before it reads the first byte. That costs no I/O.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable
from functools import cached_property

import pyarrow as pa
import pyarrow.parquet as pq


class ColumnChunks:
    """The chunks of some columns of a file; of a table with thousands of others nothing else is looked at."""

    def __init__(self, file: pq.ParquetFile, names: Iterable[str]) -> None:
        self.names = list(names)
        self._file = file
        self._leaves = leaves_of(file, self.names)

    def of(self, group: int) -> list[pq.ColumnChunkMetaData]:
        """Of one row group. Empty where Arrow would not read one of them: reading the group then says why."""
        if not self._leaves or not (self._all_sound or self._sound([group])):
            return []
        metadata = self._file.metadata.row_group(group)
        return [metadata.column(number) for number in self._leaves]

    def num_bytes(self, group: int) -> int:
        """Uncompressed, of all pages of these columns; dictionaries count once."""
        return sum(max(0, chunk.total_uncompressed_size) for chunk in self.of(group))

    @cached_property
    def _all_sound(self) -> bool:
        return self._sound(range(self._file.num_row_groups))

    @cached_property
    def _unread(self) -> pq.ParquetFile:
        return pq.ParquetFile(_Unreadable(), metadata=self._file.metadata, pre_buffer=True)

    def _sound(self, groups: Collection[int]) -> bool:
        """Whether a reader gets as far as the first page. Its errors are not looked at: they come again, with their place, when a group is read."""
        try:
            next(self._unread.iter_batches(1, row_groups=list(groups), columns=self.names, use_threads=False), None)
        except _NotRead as error:
            error.__traceback__ = None  # Arrow never lets go of an error that went through it, and its frames hold the file and its footer
            return True
        except (pa.ArrowException, OSError, ValueError):
            return False
        return False


def leaves_of(file: pq.ParquetFile, columns: Iterable[str]) -> list[int]:
    """Numbers of the columns of Parquet that make up these columns, nested ones included."""
    wanted = set(columns)
    return [number for number in range(len(file.schema)) if _is_of(file.schema.column(number).path, wanted)]


def _is_of(path: str, wanted: set[str]) -> bool:
    return path in wanted or path.split(".")[0] in wanted


class _NotRead(Exception):
    """A page was asked for."""


class _Unreadable(io.RawIOBase):
    """Stands in for a file, longer than any, of which only the footer is looked at, and that is known already."""

    def __init__(self) -> None:
        self._at = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: 1 << 60}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        raise _NotRead
