"""Rows of a partition -> rows of its shards, in batches of a size that an engine likes. Where it cuts follows from the rows alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.corpus.chunk_columns import ChunkColumns, join_chunks
from embermill.jobs.corpus.input_digest import InputDigest
from embermill.jobs.corpus.rows import Refusal, RowBatch
from embermill.jobs.process.device_tuning import DEVICE_TUNING


@dataclass(frozen=True)
class BatchLimits:
    """A batch for the engine holds at most so many texts and so many bytes of text, and always at least one text.

    first_text_bytes: as long as an engine has not answered yet, so that a person soon sees how fast it is; None: no fewer than later.
    """

    rows: int
    text_bytes: int
    first_text_bytes: int | None = None


LIMITS = {kind: BatchLimits(tuning.batch_rows, tuning.batch_text_bytes, tuning.first_text_bytes) for kind, tuning in DEVICE_TUNING.items()}


@dataclass(frozen=True)
class ShardRows:
    """Consecutive rows of one shard."""

    ordinal: int
    batch: RowBatch


@dataclass(frozen=True)
class ShardEnd:
    """All rows of that shard have come. rows: input rows, refused ones included. last: it is the partition's last one. input_digest: of what was read."""

    ordinal: int
    rows: int
    last: bool
    input_digest: str = ""


def cut(
    batches: Iterable[RowBatch], rows_per_shard: int, skip: Collection[int], limits: BatchLimits, has_answered: Callable[[], bool] = lambda: True
) -> Iterator[ShardRows | ShardEnd]:
    """Shards of `rows_per_shard` input rows each, one after another; those in `skip` are left out. A partition without rows is one empty shard.

    A shard of chunks closes at the end of the document with which it reaches its limit. has_answered: the engine, by now.
    """
    ordinal, held, rows, digest = 0, _Held(limits, has_answered), 0, InputDigest()
    for batch in batches:
        while batch.num_rows:
            if rows >= rows_per_shard:
                yield from _end(held, ordinal, rows, False, skip, digest)
                ordinal, held, rows, digest = ordinal + 1, _Held(limits, has_answered), 0, InputDigest()
            part, batch = split(batch, _whole_documents(batch, rows_per_shard - rows))
            rows += part.num_rows
            if ordinal not in skip:
                digest.add(part)
                yield from (ShardRows(ordinal, ready) for ready in held.add(part))
    yield from _end(held, ordinal, rows, True, skip, digest)


def _whole_documents(batch: RowBatch, num_rows: int) -> int:
    """So many input rows, or a few more: to the end of a document."""
    if batch.chunks is None or num_rows >= batch.num_rows:
        return num_rows
    at = int(np.searchsorted(batch.rows, batch.first_row + num_rows))
    border = batch.chunks.border(at, up=True)
    return num_rows if border == at else int(batch.rows[border - 1]) + 1 - batch.first_row


def split(batch: RowBatch, num_rows: int) -> tuple[RowBatch, RowBatch]:
    """The first `num_rows` input rows, and the others. A refused range that lies on both sides is refused on both."""
    border = batch.first_row + min(num_rows, batch.num_rows)
    at = int(np.searchsorted(batch.rows, border))
    before, after = _split_refused(batch.refused, border)
    head, tail = (
        replace(
            batch, rows=batch.rows[part], ids=batch.ids[part], texts=batch.texts[part], kept=tuple(column[part] for column in batch.kept),
            chunks=None if batch.chunks is None else batch.chunks.take(part),
        )
        for part in (slice(at), slice(at, None))
    )  # fmt: skip
    rest = batch.first_row + batch.num_rows - border
    return replace(head, num_rows=border - batch.first_row, refused=before), replace(tail, first_row=border, num_rows=rest, refused=after)


def _split_refused(refused: tuple[Refusal, ...], border: int) -> tuple[tuple[Refusal, ...], tuple[Refusal, ...]]:
    before, after = list[Refusal](), list[Refusal]()
    for refusal in refused:
        head = min(max(border - refusal.row, 0), refusal.row_count)
        if head:
            before.append(replace(refusal, row_count=head) if head < refusal.row_count else refusal)
        if head < refusal.row_count:
            first_row = None if refusal.first_row is None else refusal.first_row + head
            after.append(replace(refusal, row=refusal.row + head, row_count=refusal.row_count - head, first_row=first_row) if head else refusal)
    return tuple(before), tuple(after)


def _end(held: _Held, ordinal: int, rows: int, last: bool, skip: Collection[int], digest: InputDigest) -> Iterator[ShardRows | ShardEnd]:
    if ordinal not in skip:
        yield from (ShardRows(ordinal, batch) for batch in held.flush())
        yield ShardEnd(ordinal, rows, last, digest.hexdigest())


class _Held:
    """Row batches put together until the limits are reached."""

    def __init__(self, limits: BatchLimits, has_answered: Callable[[], bool]) -> None:
        self._limits, self._has_answered = limits, has_answered
        self._parts: list[RowBatch] = []
        self._texts = self._text_bytes = 0

    def add(self, batch: RowBatch) -> Iterator[RowBatch]:
        """Take a batch in; what is full by then comes out."""
        ends = np.cumsum(pc.binary_length(batch.texts).to_numpy(zero_copy_only=False), dtype=np.int64)
        taken, chunks = 0, batch.chunks
        while (room := self._room(ends, taken, chunks)) < len(ends):
            if room > taken:
                part, batch = split(batch, int(batch.rows[room - taken]) - batch.first_row)
                self._append(part, _bytes_between(ends, taken, room))
            taken = room
            yield from self.flush()
        self._append(batch, _bytes_between(ends, taken, len(ends)))

    def flush(self) -> Iterator[RowBatch]:
        if self._parts:
            yield join(self._parts)
        self._parts, self._texts, self._text_bytes = [], 0, 0

    def _append(self, batch: RowBatch, text_bytes: int) -> None:
        self._parts.append(batch)
        self._texts += len(batch.texts)
        self._text_bytes += text_bytes

    def _room(self, ends: np.ndarray, taken: int, chunks: ChunkColumns | None) -> int:
        """How far into the incoming texts (whose bytes end at `ends`) the batch may reach; past `taken` at least once it is empty. Documents stay whole."""
        before = int(ends[taken - 1]) if taken else 0
        by_bytes = int(np.searchsorted(ends, before + self._most_text_bytes() - self._text_bytes, side="right"))
        room = max(min(by_bytes, taken + self._limits.rows - self._texts), taken if self._texts else taken + 1)
        if chunks is None:
            return room
        whole = chunks.border(room, up=False)
        return whole if whole > taken else taken if self._texts else chunks.border(room, up=True)

    def _most_text_bytes(self) -> int:
        first = self._limits.first_text_bytes
        return self._limits.text_bytes if first is None or self._has_answered() else first


def _bytes_between(ends: np.ndarray, start: int, stop: int) -> int:
    return (int(ends[stop - 1]) if stop else 0) - (int(ends[start - 1]) if start else 0)


def join(batches: list[RowBatch]) -> RowBatch:
    """Batches that follow one another, as one."""
    if len(batches) == 1:
        return batches[0]
    return RowBatch(
        first_row=batches[0].first_row,
        num_rows=sum(batch.num_rows for batch in batches),
        rows=np.concatenate([batch.rows for batch in batches]),
        ids=pa.concat_arrays([batch.ids for batch in batches]),
        texts=pa.concat_arrays([batch.texts for batch in batches]),
        kept=tuple(pa.concat_arrays(list(columns)) for columns in zip(*(batch.kept for batch in batches), strict=True)),
        refused=tuple(refusal for batch in batches for refusal in batch.refused),
        origins=tuple(dict.fromkeys(origin for batch in batches for origin in batch.origins)),
        chunks=join_chunks([batch.chunks for batch in batches if batch.chunks is not None]) if batches[0].chunks is not None else None,
    )
