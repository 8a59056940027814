"""What a task of the difference reads of the scans: its buckets of each, in corpus order, with one opening a scan."""

from __future__ import annotations

from typing import BinaryIO

import pyarrow as pa

from embermill.jobs.dataset.metadata.id_hash import bucket_of
from embermill.jobs.difference.difference import scan_schema
from embermill.jobs.difference.scan import ScanTotals, _publish, read_scans, read_totals
from tests.jobs.stores.memory import MemoryFolder

BUCKETS = 8


class CountingFolder(MemoryFolder):
    opened = 0

    def open(self, name: str) -> BinaryIO:
        self.opened += 1
        return super().open(name)


def scanned(part: int, rows: int) -> pa.Table:
    columns = [
        pa.array([f"{part}-{row}" for row in range(rows)]), pa.array([bytes(16)] * rows, pa.binary(16)), pa.array([bytes(8)] * rows, pa.binary(8)),
        *(pa.array(values, pa.int32()) for values in ([part] * rows, [part] * rows, range(rows))),
    ]  # fmt: skip
    return pa.Table.from_arrays(columns, schema=scan_schema(pa.string()))


def test_each_scan_is_opened_once_whatever_the_number_of_buckets() -> None:
    folder, names, totals = CountingFolder(), [f"scan/{part}.pq" for part in range(3)], [ScanTotals(part * 50, part, 7, {part: part}) for part in range(3)]
    for part, (name, told) in enumerate(zip(names, totals, strict=True)):
        _publish(folder, name, scanned(part, part * 50), BUCKETS, told)
    folder.opened = 0
    found = list(read_scans(folder, names, range(4, 8)))
    assert folder.opened == len(names)
    assert [told for told, _ in found] == totals == [read_totals(folder, name) for name in names]
    for part, (_, tables) in enumerate(found):
        whole, of = scanned(part, part * 50), bucket_of(scanned(part, part * 50).column("id"), BUCKETS)
        assert [table.equals(whole.filter(pa.array(of == bucket))) for bucket, table in zip(range(4, 8), tables, strict=True)] == [True] * 4
