"""What a version did, in numbers: what its summary says, and what stands in its details."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.dataset.metadata.standing import KEPT, STALE_IN, STANDING, stale_in, standing_of
from embermill.jobs.dataset.metadata.versions import Version
from embermill.jobs.difference.claim import Claim
from embermill.jobs.difference.committing import Added, tokens_below
from embermill.jobs.difference.difference import Action
from embermill.jobs.difference.differing import Totals, read_differences
from embermill.jobs.difference.inputs import CorpusFile, State
from embermill.jobs.difference.scan import ScanTotals
from embermill.jobs.difference.writing import Writes
from embermill.jobs.shard.text_hash import digest_each
from embermill.jobs.storage import Folder


def unseen_in(version: Version) -> int:
    """Its rows that no corpus file gives any more, and that stay."""
    return standing_of(version)["unseen"]


def stale_now(folder: Folder, made: Claim, parent: Version, differences: Sequence[str]) -> dict[int, int]:
    """Number of a corpus file -> rows that stay as they were, since it gives them refused: found by this sync, and before it in files that it has not opened.

    differences: names of files.
    """
    found: Counter[int] = Counter()
    if made.options["on_refused_update"] != "delete":
        for table in read_differences(folder, differences, ["file"], [Action.STALE]):
            found.update(table.column("file").to_pylist())
    unopened = {file.number for file in made.files if not file.scan and file.state != State.GONE}
    return dict(found + Counter({number: rows for number, rows in stale_in(parent).items() if number in unopened}))


def standing_now(counts: Mapping[str, Any], stale: Mapping[int, int]) -> dict[str, Any]:
    """For the details of the version. counts: as count_rows has them."""
    told = {kind: counts[f"rows_{kind}"] for kind in KEPT}
    return {STANDING: told | {STALE_IN: {str(number): rows for number, rows in sorted(stale.items())}}}


def count_rows(
    made: Claim, scans: Sequence[ScanTotals], totals: Totals, writes: Writes, added: Added, refused: int, receipts: pa.Table, files: Sequence[CorpusFile],
    stale: Mapping[int, int],
) -> dict[str, Any]:  # fmt: skip
    """files: as the version has read them. stale: as stale_now has it. refused: rows that an engine refused. receipts: RECEIPT_COLUMNS, of all
    that was written."""
    return {
        "rows_scanned": sum(scan.rows for scan in scans),
        "rows_new": added.rows_new,
        "rows_changed": totals.of(Action.EMBED_CHANGED),
        "rows_metadata": totals.of(Action.COPY),
        "rows_moved": totals.of(Action.MOVED),
        "rows_unchanged": added.rows - added.rows_upserted - totals.of(Action.MOVED),
        "rows_deleted": added.rows_deleted,
        "rows_unseen": 0 if made.options["complete"] else totals.of(Action.MISSING),
        "rows_stale": sum(stale.values()),
        "rows_refused": sum(file.quarantined for file in files),
        "rows_duplicate": totals.of(Action.DUPLICATE),
        "rows_quarantined": sum(scan.rows_refused for scan in scans) + totals.of(Action.DUPLICATE) + refused,
        "texts_embedded": writes.rows_embedded,
        "vectors_copied": writes.rows_copied,
        "tokens_embedded": tokens_below(receipts, writes.embedded),
        "bytes_written": sum(file.bytes for file in added.files),
        "values_clipped": sum(receipts.column("values_clipped").to_pylist()),
        "unknown_words": sum(receipts.column("unknown_words").to_pylist()),
    }


def count_empty(folder: Folder, differences: Sequence[str]) -> int:
    """New and changed rows, or documents, without any text: a file that was emptied, say. differences: names of files."""
    empty = pa.scalar(bytes(digest_each(pa.array([""]))), pa.binary(16))
    tables = read_differences(folder, differences, ["text_hash"], [Action.EMBED_NEW, Action.EMBED_CHANGED])
    return sum(pc.sum(pc.equal(table.column("text_hash"), empty)).as_py() or 0 for table in tables)


def count_chunks(rows: dict[str, Any], added: Added) -> dict[str, Any]:
    """rows: as above. What is told of rows of the corpus is of documents; what is told of rows that have a vector, of chunks."""
    assert added.documents is not None, "of a dataset of chunks"
    per_document = {name.removeprefix("rows_"): number for name, number in rows.items() if name.startswith("rows_")}
    written = added.documents_written + per_document["moved"]
    documents = per_document | {
        "live": added.documents, "new": added.documents_new, "deleted": added.documents_deleted, "unchanged": added.documents - written,
    }  # fmt: skip
    return rows | {
        "rows_changed": 0,
        "rows_metadata": 0,
        "rows_moved": added.rows_upserted - added.rows_new,
        "rows_unchanged": added.rows - added.rows_upserted,
        "vectors_copied": max(0, added.rows_upserted - rows["texts_embedded"]),
        "documents": documents,
    }
