"""Whether receipts account for a whole plan: every partition to its last shard, every input row that is known of."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from embermill.jobs.partition import Partition
from embermill.jobs.plan.files import Plan


def gaps(plan: Plan, table: pa.Table) -> Iterator[str]:
    """What is missing or too much, in words. table: receipt_table.SCHEMA, in row order."""
    by_partition: dict[int, list[tuple[int, bool, int]]] = {}
    columns = (table.column(name).to_pylist() for name in ("partition", "ordinal", "last", "rows_in"))
    for number, ordinal, last, rows_in in zip(*columns, strict=True):
        by_partition.setdefault(number, []).append((ordinal, last, rows_in))
    for partition in plan.current:
        yield from _partition_gaps(plan, partition, by_partition.pop(partition.number, []))
    for number in by_partition:
        yield f"partition {number} is not in the plan, which has {len(plan.partitions)}"


def _partition_gaps(plan: Plan, partition: Partition, shards: list[tuple[int, bool, int]]) -> Iterator[str]:
    where = f"partition {partition.number}"
    if [ordinal for ordinal, _, _ in shards] != list(range(len(shards))) or [last for _, last, _ in shards] != [False] * (len(shards) - 1) + [True]:
        yield f"{where}: shards {[ordinal for ordinal, _, _ in shards]} with the last one {[ordinal for ordinal, last, _ in shards if last]}"
        return
    for ordinal, last, rows_in in shards:
        if rows_in > plan.rows_per_shard or (rows_in < plan.rows_per_shard and not last):
            yield f"{where} shard {ordinal}: {rows_in} rows in, where a shard has {plan.rows_per_shard} and only the last one fewer"
    expected, found = known_rows(partition), sum(rows_in for _, _, rows_in in shards)
    if expected is not None and expected != found:
        yield f"{where}: its files hold {expected} rows, {found} are accounted for"


def known_rows(partition: Partition) -> int | None:
    """Input rows, where the plan knows them: row ranges of Parquet, and a file that cannot be read, which counts as one."""
    if any(segment.kind not in ("rows", "unreadable") for segment in partition.segments):
        return None
    return sum(segment.end - segment.start for segment in partition.segments)
