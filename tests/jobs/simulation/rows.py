"""Tables of receipts as lists, in place of Arrow's, which take two thirds of the time of a simulation: what the commit log asks of a table, and no more.

test_simulation.py compares: with Arrow's tables each seed tells the same story.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from embermill.jobs.receipt import Receipt


class Rows:
    """In place of a pa.Table of receipt_table.SCHEMA, and of its schema."""

    def __init__(self, receipts: Sequence[Receipt] = (), metadata: Mapping[bytes, bytes] | None = None) -> None:
        self.receipts, self.metadata = receipts, metadata

    @property
    def schema(self) -> Rows:
        return self

    def empty_table(self) -> Rows:
        return Rows()

    def replace_schema_metadata(self, metadata: Mapping[bytes, str] | None) -> Rows:
        return Rows(self.receipts, {key: value.encode() for key, value in (metadata or {}).items()})

    def take(self, rows: Iterable[int]) -> Rows:
        return Rows([self.receipts[row] for row in rows], self.metadata)

    def slice(self, start: int, length: int | None = None) -> Rows:
        return Rows(self.receipts[start:] if length is None else self.receipts[start : start + length], self.metadata)

    def select(self, names: Sequence[str]) -> Rows:
        return self

    @property
    def names(self) -> Sequence[str]:
        return ()

    @property
    def num_rows(self) -> int:
        return len(self.receipts)

    def column(self, name: str) -> Column:
        return Column(getattr(receipt, name) for receipt in self.receipts)

    def combine_chunks(self) -> Rows:
        return self

    def sort_by(self, keys: Sequence[tuple[str, str]]) -> Rows:
        return Rows(sorted(self.receipts, key=lambda receipt: [getattr(receipt, name) for name, _ in keys]), self.metadata)


class Column(list[object]):
    def to_pylist(self) -> list[object]:
        return self

    def to_numpy(self) -> np.ndarray:
        return np.array(self)


class Arrow:
    """In place of the module pyarrow, as far as the commit log uses it."""

    class Buffer:
        """Nothing is packed."""

    @staticmethod
    def concat_tables(tables: Iterable[Rows]) -> Rows:
        return Rows([receipt for table in tables for receipt in table.receipts])

    @staticmethod
    def array(values: Iterable[int], kind: None = None) -> Iterable[int]:
        return values

    @staticmethod
    def int64() -> None:
        return None


def shard_keys(table: Rows) -> list[tuple[int, int]]:
    return [(receipt.partition, receipt.ordinal) for receipt in table.receipts]


def receipt_at(table: Rows, row: int) -> Receipt:
    return table.receipts[row]


def to_receipts(table: Rows) -> Iterator[Receipt]:
    return iter(table.receipts)


def contradictions(table: Rows) -> Iterator[str]:
    for receipt in table.receipts:
        adds_up = receipt.rows_in == receipt.rows_out + receipt.rows_quarantined
        if not adds_up or (receipt.rows_out > 0) != (receipt.shard is not None) or (receipt.rows_quarantined > 0) != (receipt.quarantine is not None):
            yield f"partition {receipt.partition} shard {receipt.ordinal}: that does not add up"


IN_PLACE_OF_ARROW: dict[str, object] = {  # names in jobs/dataset/metadata/commits.py
    "pa": Arrow, "SCHEMA": Rows(), "to_table": Rows, "shard_keys": shard_keys, "receipt_at": receipt_at, "to_receipts": to_receipts,
    "contradictions": contradictions,
}  # fmt: skip
