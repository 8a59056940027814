"""What the end of a run comes to: partitions that could not be finished, rows that were refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from embermill.counts import several
from embermill.jobs.dataset.metadata.receipt_table import Totals
from embermill.jobs.dataset.metadata.why_unfinished import exceeds, nothing_embedded, over_the_limit, too_many_quarantined
from embermill.jobs.errors import DataError, InputChanged, Interrupted
from embermill.jobs.receipt import Failed
from embermill.jobs.wording import see_quarantine

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
        raise DataError(f"{root}: {nothing_embedded(root, totals, first)}")
    if not exceeds(totals, limit):
        return
    if published():
        raise DataError(
            f"{over_the_limit(totals, limit)}. The dataset was finished under a higher limit, and its manifest stays: {see_quarantine(first)}, "
            "and set the limit back, or fix the corpus and embed it into another output.uri"
        )
    raise DataError(too_many_quarantined(root, totals, limit, first))
