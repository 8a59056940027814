"""A file in memory never changes, and a history reads each one many times: its Parquet is decoded once.

What decides anything stays as it ships; only pyarrow's reader, and two functions that make objects of a file's bytes and nothing else, keep their answers.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import pyarrow as pa

from embermill.jobs.dataset.metadata import manifest, versions
from embermill.jobs.shard import contents

MOST_FILES = 4000  # some hundred in a history; whatever is older is forgotten
_Reader = contents._ParquetFile


class Decoded:
    """As the ParquetFile that reads shards, of bytes: whatever was read once is known."""

    def __init__(self, data: bytes, **options: Any) -> None:
        self._file = _Reader(io.BytesIO(data), **options)
        self._known: dict[object, Any] = {}
        self.schema_arrow, self.metadata, self.num_row_groups = self._file.schema_arrow, self._file.metadata, self._file.num_row_groups

    def __enter__(self) -> Decoded:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def iter_batches(self, batch_size: int, row_groups: list[int] | None = None, columns: list[str] | None = None, **_: Any) -> Iterator[pa.RecordBatch]:
        key = ("batches", batch_size, _key(row_groups), _key(columns))
        return iter(self._once(key, lambda: [*self._file.iter_batches(batch_size, row_groups=row_groups, columns=columns, use_threads=False)]))

    def read_row_group(self, number: int, columns: list[str] | None = None, **_: Any) -> pa.Table:
        return self._once(("group", number, _key(columns)), lambda: self._file.read_row_group(number, columns, use_threads=False))

    def read(self, **_: Any) -> pa.Table:
        return self._once("all", lambda: self._file.read(use_threads=False))

    def _once(self, key: object, read: Callable[[], Any]) -> Any:
        if key not in self._known:
            self._known[key] = read()
        return self._known[key]


@contextmanager
def decoding_once() -> Iterator[None]:
    """For this process, until the end of the block."""
    opened = functools.lru_cache(MOST_FILES)(Decoded)

    def open_parquet(source: Any, **options: Any) -> Any:
        return opened(source.getvalue(), **options) if isinstance(source, io.BytesIO) else _Reader(source, **options)

    receipts, to_files = manifest._pieces_of, functools.lru_cache(MOST_FILES)(versions._to_files)

    @functools.lru_cache(MOST_FILES)
    def pieces(data: bytes, columns: tuple[str, ...] | None) -> tuple[pa.Table, ...]:
        return tuple(receipts(data, columns))

    def pieces_of(data: bytes, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        return iter(pieces(data, _key(columns)))

    with ExitStack() as patches:
        patches.enter_context(mock.patch.object(contents, "_ParquetFile", open_parquet))
        patches.enter_context(mock.patch.object(manifest, "_pieces_of", pieces_of))
        patches.enter_context(mock.patch.object(versions, "_to_files", to_files))
        yield


def _key(values: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)
