"""What is judged before anything is embedded or deleted: a version that would break one of these is not made."""

from __future__ import annotations

from collections.abc import Sequence

from embermill.counts import agreeing, several
from embermill.jobs.config import CorpusConfig
from embermill.jobs.config.quarantine_limit import allowed_quarantined
from embermill.jobs.dataset.metadata.first_quarantined import example_of
from embermill.jobs.difference.claim import Claim
from embermill.jobs.difference.difference import Action
from embermill.jobs.difference.differing import Totals, read_differences
from embermill.jobs.difference.scan import ScanTotals
from embermill.jobs.errors import DataError
from embermill.jobs.storage import Folder
from embermill.jobs.wording import all_quarantined, see_quarantine

SHOWN = 10
FEWEST_DELETED = 1  # a share of a small dataset is never below: of a folder of few files one is renamed or removed every day


def require_few_deletes(
    folder: Folder, claim: Claim, totals: Totals, differences: Sequence[str], corpus: CorpusConfig, live: tuple[int, str], allowed: int | None
) -> None:
    """corpus.max_deleted_share, of the live rows, or documents. live: how many, and what they are called.

    allowed: by `--allow-deletes`, so many whatever the share. DataError."""
    actions = ([Action.MISSING] if corpus.complete else []) + ([Action.STALE] if corpus.on_refused_update == "delete" else [])
    rows, (live_rows, unit) = totals.of(*actions), live
    share = max(FEWEST_DELETED, int(corpus.max_deleted_share * live_rows)) if corpus.max_deleted_share else 0
    if rows <= (share if allowed is None else allowed):
        return
    shown: list[str] = []
    for table in read_differences(folder, differences, ["id"], actions):
        shown += map(str, table.column("id").slice(0, SHOWN - len(shown)).to_pylist())
        if len(shown) == SHOWN:
            break
    limit = f"corpus.max_deleted_share: {corpus.max_deleted_share:g} allows {share:,}"
    if allowed is not None:
        limit = f"--allow-deletes {allowed} allows no more"
    which = f"{agreeing(rows, 'it', 'them')} any more ({', '.join(shown)}{', …' if rows > len(shown) else ''})"
    raise DataError(
        f"{folder.root}: {rows:,} of {live_rows:,} {unit} would be deleted, since no corpus file gives {which}; {limit}. "
        f"Nothing was deleted or embedded: put the files back, or run again with --allow-deletes {rows}"
    )


def require_no_duplicates(folder: Folder, totals: Totals, differences: Sequence[str], corpus: CorpusConfig) -> None:
    """corpus.on_duplicate_id: fail. DataError."""
    rows = totals.of(Action.DUPLICATE)
    if not rows or corpus.on_duplicate_id != "fail":
        return
    first = next(table for table in read_differences(folder, differences, ["id"], [Action.DUPLICATE]) if table.num_rows)
    raise DataError(
        f"{folder.root}: {several(rows, 'row')} of the corpus {agreeing(rows, 'has', 'have')} an id that occurs earlier: {first.column('id')[0].as_py()!r}: "
        f"remove {agreeing(rows, 'it', 'them')}, or set corpus.on_duplicate_id: quarantine, by which the first row of each id counts. Nothing was embedded"
    )


def require_few_refused(folder: Folder, claim: Claim, scans: Sequence[ScanTotals], totals: Totals, limit: float, live: int) -> None:
    """corpus.max_quarantined, of the rows that were scanned; of a dataset that has no row yet, not all. live: its rows. DataError."""
    scanned, refused = sum(scan.rows for scan in scans), sum(scan.rows_refused for scan in scans) + totals.of(Action.DUPLICATE)
    allowed, all_of_new = allowed_quarantined(limit, scanned), not live and refused == scanned > 0
    if refused <= allowed and not all_of_new:
        return
    names, place = [scan.quarantine for scan in scans if scan.quarantine is not None], f"quarantine/{claim.number:06d}/"
    first = example_of(folder, names[0]) if names else None
    if all_of_new:
        why = all_quarantined(scanned, first, place)
        raise DataError(f"{folder.root}: no row of the corpus can be embedded: {why}. Nothing was embedded: fix the corpus and run `embermill sync` again")
    were = f"{several(scanned, 'row')} of new and changed files {agreeing(refused, 'was', 'were')}"
    raise DataError(
        f"{folder.root}: {refused:,} of the {were} quarantined, and corpus.max_quarantined: {limit:g} allows {int(allowed):,}: {see_quarantine(first, place)}. "
        f"Nothing was embedded: fix the corpus, or run again with corpus.max_quarantined: {refused} or more (1 and above is a number of rows, below 1 a share)"
    )
