"""What the end of a run comes to: partitions that could not be finished, rows that were refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from embermill.counts import several
from embermill.jobs.config.quarantine_limit import allowed_quarantined
from embermill.jobs.dataset.metadata.receipt_table import Totals
from embermill.jobs.errors import DataError, InputChanged, Interrupted
from embermill.jobs.receipt import Failed
from embermill.jobs.wording import all_quarantined, see_quarantine

SHOWN = 5


def failures_as_error(failures: Sequence[Failed]) -> Exception:
    """One error for all of them. A defect of ours goes first, then what a person must fix, then what another run may."""
    worst = next((kind for kind in ("defect", "bad_data", "engine", "input_changed") if any(failed.kind == kind for failed in failures)), "storage")
    chosen = sorted(failures, key=lambda failed: failed.kind != worst)
    told = Counter(f"{failed.kind}: {failed.message}" for failed in chosen)  # a file that changed did so for each of its partitions
    shown = [*told.items()][:SHOWN]
    lines = [line if number == 1 else f"{line} ({number} partitions)" for line, number in shown]
    if rest := len(failures) - sum(number for _, number in shown):
        lines.append(f"… and {several(rest, 'more partition')}")
    again = "" if worst == "input_changed" else ", and running again tries these alone"  # each file that changed says what helps
    message = "\n".join([f"{several(len(failures), 'partition')} could not be finished; everything else is committed{again}:", *lines])
    if worst == "defect":
        return RuntimeError(f"{message}\n{chosen[0].traceback}")
    if worst == "storage":
        return Interrupted(message)
    return InputChanged(message) if worst == "input_changed" else DataError(message)


def require_few_quarantined(root: str, totals: Totals, limit: float, first: dict[str, Any] | None, published: Callable[[], bool]) -> None:
    """corpus.max_quarantined, judged at the end: 0 is none, below 1 a share of rows_in, else a count; that all are is never allowed. Raises DataError.

    root: of the dataset. first: an entry of the quarantine, for an example.
    published: whether a manifest is there, of a run with a higher limit: what is published is never withdrawn.
    """
    if totals.all_quarantined and not published():
        raise DataError(_nothing_embedded(root, totals, first))
    allowed = allowed_quarantined(limit, totals.documents_in)
    if totals.rows_quarantined <= allowed:
        return
    were = "was" if totals.rows_quarantined == 1 else "were"
    found = f"{totals.rows_quarantined:,} of {several(totals.documents_in, 'row')} {were} quarantined, and corpus.max_quarantined: {limit:g} allows {allowed:,}"
    reasons = see_quarantine(first)
    if published():
        raise DataError(
            f"{found}. The dataset was finished under a higher limit, and its manifest stays: {reasons}, "
            "and set the limit back, or fix the corpus and embed it into another output.uri"
        )
    raise DataError(
        f"{found}. All shards are committed, no manifest is published: {reasons}. To finish, fix the corpus and run `embermill redrive {root}`, or run again "
        f"with corpus.max_quarantined: {totals.rows_quarantined} or more (1 and above is a number of rows, below 1 a share)"
    )


def _nothing_embedded(root: str, totals: Totals, first: dict[str, Any] | None) -> str:
    return (
        f"{root}: no row of the corpus was embedded: {all_quarantined(totals.rows_quarantined, first)}. The dataset is not finished. Fix the corpus and run "
        f"`embermill redrive {root}`, which reads changed files again; if the configuration is wrong, correct it and choose another output.uri"
    )
