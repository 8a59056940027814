"""Partitions, rows and shards in memory, for tests of cutting, pipeline and driver."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from embermill.jobs.corpus.rows import Origin, Refusal, RowBatch
from embermill.jobs.engine import Embedded
from embermill.jobs.partition import Partition, Segment
from embermill.jobs.receipt import Ready, Receipt


def partition(number: int, rows: int = 10) -> Partition:
    segment = Segment(f"/corpus/{number}.parquet", f"{number}.parquet", "parquet", None, 1, "1", "rows", 0, rows)
    return Partition(number, f"{number:08x}", (segment,), rows * 10)


def ready(**fields: object) -> Ready:
    values: dict[str, object] = dict(
        device_kind="cpu", device_name="test", device_uuid="",
        precision="float32", fingerprint={"model.weights": "w"}, outputs=(), host="here", pid=1, threads=1
    )
    return Ready(**(values | fields))  # type: ignore[arg-type]


def receipt(number: int, ordinal: int = 0, *, last: bool = True, rows_in: int = 1, rows_quarantined: int = 0, tokens: int = 0) -> Receipt:
    name = f"part-{number:09d}-{ordinal:03d}-{number:08x}.parquet"
    rows_out = rows_in - rows_quarantined
    return Receipt(
        partition=number, ordinal=ordinal, partition_id=f"{number:08x}", last=last, rows_in=rows_in, rows_out=rows_out, rows_quarantined=rows_quarantined,
        shard=f"data/{name}" if rows_out else None, shard_bytes=1, shard_sha256=hashlib.sha256(name.encode()).hexdigest(),
        quarantine=f"quarantine/{name}" if rows_quarantined else None, quarantine_bytes=0, quarantine_sha256="", first_id=None, last_id=None,
        documents=rows_out, tokens=tokens, tokens_dropped=0, rows_truncated=0, token_lengths=(), adopted=False, provenance={},
    )  # fmt: skip


def refusal(row: int, count: int = 1) -> Refusal:
    return Refusal(row, count, None, "file", row, None, "null_text", "none", None)


def batch(first_row: int, texts: list[str | None], refused_count: int = 1) -> RowBatch:
    """None stands for `refused_count` refused rows."""
    rows, kept, refused, at = list[int](), list[str](), list[Refusal](), first_row
    for text in texts:
        if text is None:
            refused.append(refusal(at, refused_count))
            at += refused_count
        else:
            rows.append(at)
            kept.append(text)
            at += 1
    ids = pa.array([f"id-{row}" for row in rows], pa.string())
    origin = Origin(first_row, "file", None, 10 * np.arange(first_row, at), at - first_row)
    return RowBatch(first_row, at - first_row, np.array(rows, np.int64), ids, pa.array(kept, pa.string()), (ids,), tuple(refused), (origin,))


@dataclass
class Shard:
    """What a sink was given."""

    ids: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    vectors: list[np.ndarray] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    last: bool = False


class Shelf:
    """Shards in memory: the published ones, and how many were abandoned."""

    def __init__(self) -> None:
        self.shards: dict[tuple[int, int], Shard] = {}
        self.abandoned = 0
        self.fail_on: set[tuple[int, int]] = set()

    def open_shard(self, partition: Partition, ordinal: int) -> Sink:
        return Sink(self, partition, ordinal)


class Sink:
    def __init__(self, shelf: Shelf, partition: Partition, ordinal: int) -> None:
        self.shelf, self.partition, self.ordinal, self.shard = shelf, partition, ordinal, Shard()

    def write(self, batch: RowBatch, embedded: Embedded | None) -> None:
        if (self.partition.number, self.ordinal) in self.shelf.fail_on:
            raise OSError("disk full")
        assert (embedded is not None) == (len(batch.texts) > 0)
        self.shard.ids += batch.ids.to_pylist()
        self.shard.texts += batch.texts.to_pylist()
        self.shard.refused += batch.refused
        if embedded is not None:
            self.shard.vectors.append(embedded.columns["embedding"])

    def flush(self) -> None:
        pass

    def finish(self, last: bool, provenance: dict[str, str], input_digest: str = "", /) -> Receipt:
        self.shard.last = last
        key = (self.partition.number, self.ordinal)
        assert key not in self.shelf.shards, f"{key} was written twice"
        self.shelf.shards[key] = self.shard
        refused = sum(each.row_count for each in self.shard.refused)
        return receipt(*key, last=last, rows_in=len(self.shard.ids) + refused, rows_quarantined=refused)

    def abandon(self) -> None:
        self.shelf.abandoned += 1


def rows_of(partition: Partition, rows: int, per_batch: int = 3) -> Iterator[RowBatch]:
    """`rows` texts "NUMBER-ROW", in small batches."""
    for first in range(0, rows, per_batch):
        yield batch(first, [f"{partition.number}-{row}" for row in range(first, min(rows, first + per_batch))])
