"""Receipts of a step that publishes a file and commits nothing: that the file is there is all there is to know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from embermill.jobs.partition import Partition
from embermill.jobs.receipt import Receipt


def step_receipt(partition: Partition, name: str, *, rows_in: int = 0, rows_refused: int = 0, provenance: dict[str, str] | None = None) -> Receipt:
    """Of a task whose one file is `name`. provenance: what else it tells."""
    return Receipt(
        partition=partition.number,
        ordinal=0,
        partition_id=partition.id,
        last=True,
        rows_in=rows_in,
        rows_out=rows_in - rows_refused,
        rows_quarantined=rows_refused,
        shard=name,
        shard_bytes=0,
        shard_sha256="",
        quarantine=None,
        quarantine_bytes=0,
        quarantine_sha256="",
        first_id=None,
        last_id=None,
        documents=rows_in - rows_refused,
        tokens=0,
        tokens_dropped=0,
        rows_truncated=0,
        token_lengths=(),
        adopted=False,
        provenance=provenance or {},
    )


class StepLog:
    """Of stages that commit nothing: what is there, and what is published."""

    def __init__(self, standing: Iterable[Receipt]) -> None:
        self._standing = [*standing]

    def append(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        self._standing += receipts
        return [*receipts]

    def receipts(self) -> Iterator[Receipt]:
        return iter(self._standing)
