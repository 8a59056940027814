"""What is judged once everything is embedded: a dataset that has no row yet gets no version in which every row was refused."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from embermill.jobs.dataset.metadata.first_quarantined import first_quarantined
from embermill.jobs.dataset.metadata.versions import Version, abandon_version
from embermill.jobs.difference.difference import Action
from embermill.jobs.difference.differing import Totals
from embermill.jobs.difference.making import VersionFolder
from embermill.jobs.difference.scan import ScanTotals
from embermill.jobs.errors import DataError
from embermill.jobs.storage import Folder
from embermill.jobs.wording import all_quarantined


def require_some_row(
    folder: Folder, making: VersionFolder, parent: Version, scans: Sequence[ScanTotals], totals: Totals, refused: int, receipts: pa.Table
) -> None:
    """As a run has it (driver/outcome.py), whatever corpus.max_quarantined. refused: rows that an engine refused. receipts: RECEIPT_COLUMNS. DataError.

    The version is abandoned, so that the same sync asks the engine again, even where the corpus is the same.
    """
    lost = sum(scan.rows_refused for scan in scans) + totals.of(Action.DUPLICATE) + refused
    if parent.totals["rows"] or not lost or any(receipts.column("rows_out").to_pylist()):
        return
    entry = first_quarantined(making, receipts)
    abandon_version(folder, making.version, "every row was refused")
    raise DataError(
        f"{folder.root}: no row of the corpus was embedded: {all_quarantined(lost, entry, f'quarantine/{making.version:06d}/')}. "
        "No version was made: fix the corpus, or what the engine fails on, and run `embermill sync` again"
    )
