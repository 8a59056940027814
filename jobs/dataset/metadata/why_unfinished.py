"""Why a dataset has no version yet, and what gives it one: where the run ended by what it refused, in the words that it ended with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from embermill.counts import agreeing, several
from embermill.jobs.config.quarantine_limit import allowed_quarantined
from embermill.jobs.dataset.metadata.first_quarantined import first_quarantined
from embermill.jobs.dataset.metadata.receipt_table import Totals, sum_receipts
from embermill.jobs.plan.files import Plan
from embermill.jobs.storage import Folder
from embermill.jobs.wording import all_quarantined, see_quarantine

NO_LIMIT = float("inf")


def why_unfinished(folder: Folder, plan: Plan, receipts: pa.Table, left: np.ndarray) -> str:
    """receipts: receipt_table.SCHEMA, of what is committed. left: numbers of the partitions that are not done."""
    totals, limit = sum_receipts(receipts), planned_limit(plan)
    if not len(left) and totals.all_quarantined:
        return nothing_embedded(folder.root, totals, first_quarantined(folder, receipts))
    if not len(left) and exceeds(totals, limit):
        return too_many_quarantined(folder.root, totals, limit, first_quarantined(folder, receipts))
    if not receipts.num_rows:
        return "nothing is committed yet: finish it with `embermill run` first"
    done = f"{len(plan.current) - len(left):,} of {several(len(plan.current), 'partition')} done"
    return f"the run is not finished, {done}: run the same job again to resume"


def ended_by_refusals(plan: Plan, receipts: pa.Table, left: np.ndarray) -> bool:
    """Whether every row is accounted for and the run published nothing, for what it refused: running it again as it is would not help."""
    totals = sum_receipts(receipts)
    return not len(left) and (totals.all_quarantined or exceeds(totals, planned_limit(plan)))


def planned_limit(plan: Plan) -> float:
    """corpus.max_quarantined, which a run may set otherwise."""
    limit = plan.config.get("corpus.max_quarantined")
    return limit if isinstance(limit, int | float) else NO_LIMIT


def exceeds(totals: Totals, limit: float) -> bool:
    """limit: corpus.max_quarantined."""
    return limit != NO_LIMIT and totals.rows_quarantined > allowed_quarantined(limit, totals.documents_in)


def nothing_embedded(root: str, totals: Totals, first: dict[str, Any] | None) -> str:
    """first: an entry of the quarantine, for an example."""
    return (
        f"no row of the corpus was embedded: {all_quarantined(totals.rows_quarantined, first)}. The dataset is not finished. Fix the corpus and run "
        f"`embermill redrive {root}`, which reads changed files again; if the configuration is wrong, correct it and choose another output.uri"
    )


def too_many_quarantined(root: str, totals: Totals, limit: float, first: dict[str, Any] | None) -> str:
    return (
        f"{over_the_limit(totals, limit)}. All shards are committed, no manifest is published: {see_quarantine(first)}. To finish, fix the corpus and run "
        f"`embermill redrive {root}`, or run again with corpus.max_quarantined: {totals.rows_quarantined} or more (1 and above is a number of rows, below 1 "
        "a share)"
    )


def over_the_limit(totals: Totals, limit: float) -> str:
    were = agreeing(totals.rows_quarantined, "was", "were")
    allowed = allowed_quarantined(limit, totals.documents_in)
    return f"{totals.rows_quarantined:,} of {several(totals.documents_in, 'row')} {were} quarantined, and corpus.max_quarantined: {limit:g} allows {allowed:,}"
