"""Whether receipts account for a whole plan: every partition to its last shard, every input row that is known of.

A shard of chunks closes at the end of a document, so it may hold more rows than its limit; what the files are known to hold are documents there as elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.counts import several
from embermill.jobs.partition import Partition
from embermill.jobs.plan.files import Plan
from embermill.jobs.plan.partitions import UNKNOWN_ROWS, known_rows, known_rows_of, numbers_of

ROWS_AT_A_TIME = 1 << 14
NO_MORE: tuple[int, list[tuple[int, bool, int, int]]] = (1 << 62, [])
SHARD_COLUMNS = ("partition", "ordinal", "last")
GAP_COLUMNS = (*SHARD_COLUMNS, "rows_in", "documents", "rows_quarantined")


def unfinished(plan: Plan, receipts: pa.Table) -> np.ndarray:
    """Numbers of the partitions of which a shard is missing, ascending. receipts: SHARD_COLUMNS of each shard, once, in any order."""
    numbers, ordinals, last = (receipts.column(name).to_numpy() for name in SHARD_COLUMNS)
    planned = (numbers >= 0) & (numbers < len(plan.partitions))
    numbers, ordinals, last = numbers[planned], ordinals[planned], last[planned].astype(bool)
    ends = np.full(len(plan.partitions), -1)  # the ordinal of each partition's last shard
    ends[numbers[last]] = ordinals[last]
    shards = np.bincount(numbers[ordinals <= ends[numbers]], minlength=len(plan.partitions))
    current = np.asarray(numbers_of(plan.current), np.int64)
    return current[(ends[current] < 0) | (shards[current] <= ends[current])]


def gaps(plan: Plan, table: pa.Table) -> Iterator[str]:
    """What is missing or too much, in words. table: GAP_COLUMNS of receipts, in row order."""
    if not _accounts_for_all(plan, table):
        yield from _find_gaps(plan, table)


def _accounts_for_all(plan: Plan, table: pa.Table) -> bool:
    """Whether there are no gaps: known without a Python object for each partition."""
    numbers, ordinals, last, rows_in = (table.column(name).to_numpy() for name in GAP_COLUMNS[:4])
    is_first = np.diff(numbers, prepend=numbers[:1] - 1) != 0
    starts = np.flatnonzero(is_first)
    current = np.asarray(numbers_of(plan.current), np.int64)
    if not np.array_equal(numbers[starts], current):
        return False
    is_end = np.append(is_first, True)[1:]
    places = np.arange(len(numbers)) - np.repeat(starts, np.diff(starts, append=len(numbers)))
    if not np.array_equal(ordinals, places) or not np.array_equal(last.astype(bool), is_end):
        return False
    if (not plan.rows.is_chunked and (rows_in > plan.rows_per_shard).any()) or (rows_in[~is_end] < plan.rows_per_shard).any():
        return False
    expected = known_rows_of(plan.partitions)[current]
    found = np.add.reduceat(_input_rows(plan, table).to_numpy(), starts) if len(starts) else np.zeros(0, np.int64)
    return bool(((expected == UNKNOWN_ROWS) | (expected == found)).all())


def _input_rows(plan: Plan, rows: pa.Table | pa.RecordBatch) -> pa.Array:
    """[N] int64: rows of the corpus that each shard accounts for. Of a document that is cut, each chunk is a row of the shard."""
    return pc.add(rows.column("documents"), rows.column("rows_quarantined")) if plan.rows.is_chunked else rows.column("rows_in")


def _find_gaps(plan: Plan, table: pa.Table) -> Iterator[str]:
    found = _by_partition(plan, table)
    number, shards = next(found, NO_MORE)
    for partition in plan.current:
        while number < partition.number:
            yield _stranger(plan, number)
            number, shards = next(found, NO_MORE)
        mine = []
        if number == partition.number:
            mine, (number, shards) = shards, next(found, NO_MORE)
        yield from _partition_gaps(plan, partition, mine)
    while number != NO_MORE[0]:
        yield _stranger(plan, number)
        number, _ = next(found, NO_MORE)


def _by_partition(plan: Plan, table: pa.Table) -> Iterator[tuple[int, list[tuple[int, bool, int, int]]]]:
    """(number, (ordinal, last, rows_in, rows of the corpus) of its shards) of each partition, a few at a time as Python objects."""
    rows = (
        row
        for batch in table.select(GAP_COLUMNS).to_batches(max_chunksize=ROWS_AT_A_TIME)
        for row in zip(*(column.to_pylist() for column in (*batch.columns[:4], _input_rows(plan, batch))), strict=True)
    )
    for number, shards in groupby(rows, itemgetter(0)):
        yield number, [shard[1:] for shard in shards]


def _stranger(plan: Plan, number: int) -> str:
    return f"partition {number} is not in the plan, which has {len(plan.partitions)}"


def _partition_gaps(plan: Plan, partition: Partition, shards: list[tuple[int, bool, int, int]]) -> Iterator[str]:
    where = f"partition {partition.number}"
    if [ordinal for ordinal, *_ in shards] != list(range(len(shards))) or [last for _, last, *_ in shards] != [False] * (len(shards) - 1) + [True]:
        yield f"{where}: shards {[ordinal for ordinal, *_ in shards]} with the last one {[ordinal for ordinal, last, *_ in shards if last]}"
        return
    for ordinal, last, rows_in, _ in shards:
        if (rows_in > plan.rows_per_shard and not plan.rows.is_chunked) or (rows_in < plan.rows_per_shard and not last):
            yield f"{where} shard {ordinal}: {rows_in} rows in, where a shard has {plan.rows_per_shard} and only the last one fewer"
    expected, found = known_rows(partition), sum(rows for *_, rows in shards)
    if expected is not None and expected != found:
        yield f"{where}: its files hold {several(expected, 'row')}, {found} are accounted for"
