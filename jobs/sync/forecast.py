"""`embermill plan` on an existing dataset: what a sync would do, found out without doing it. Nothing is written into the dataset."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from embermill.jobs.config import JobConfig
from embermill.jobs.dataset.metadata.manifest import read_manifest
from embermill.jobs.dataset.metadata.versions import Version, live_documents
from embermill.jobs.difference.difference import Action
from embermill.jobs.driver.display import Silent
from embermill.jobs.plan.files import Plan
from embermill.jobs.plan.planning import HASH_AND_COUNT_BYTES, ID_BYTES
from embermill.jobs.storage import Folder
from embermill.jobs.storage.overlay import Overlay
from embermill.jobs.sync.job import Look, SyncOptions, stages_of

SCRATCH = "embermill-"  # as garbage.py knows our folders


def forecast_sync(config: JobConfig, folder: Folder, plan: Plan, *, quick: bool, tokens_per_s: float | None) -> dict[str, Any]:
    """Files by state, and, unless `quick`, the rows of all that would be read; of a dataset of chunks `of` says that those are documents.

    plan: of a finished dataset whose settings the configuration agrees with.
    """
    found = Look(config, folder, plan, SyncOptions())
    told: dict[str, Any] = {"version": found.parent.number, "files": found.comparison.counts | {"scanned": len(found.comparison.scanned)}}
    unit = {"of": "documents"} if plan.rows.is_chunked else {}
    if quick or found.nothing_to_do:
        return told | unit | {"rows": None if quick and not found.nothing_to_do else {"unchanged": _live(folder, plan, found.parent)}}
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch:
        over = Overlay(folder, Path(scratch))
        stages = stages_of(plan)(config, over, plan, found.parent, None, Silent, None)
        scans, totals, writes = stages.decide(found.comparison, found.options(), look_again=found.rescanned)
    complete = config.corpus.complete
    text_bytes = sum(part.text_bytes for part in writes.partitions if part.embed)
    tokens = round(text_bytes * _tokens_per_byte(folder, plan))
    written = writes.rows_copied + (0 if plan.rows.is_chunked else writes.rows_embedded)
    rows = {
        "new": totals.of(Action.EMBED_NEW),
        "changed": totals.of(Action.EMBED_CHANGED),
        "metadata": totals.of(Action.COPY),
        "moved": totals.of(Action.MOVED),
        "deleted": totals.of(Action.MISSING) if complete else 0,
        "unseen": 0 if complete else totals.of(Action.MISSING),
        "stale": totals.of(Action.STALE),
        "duplicate": totals.of(Action.DUPLICATE),
        "refused": sum(scan.rows_refused for scan in scans),
        "unchanged": totals.unchanged,
    }
    return told | unit | {
        "rows": rows,
        "texts_to_embed": writes.rows_embedded,
        "vectors_to_copy": written - writes.rows_embedded,
        "tokens": tokens,
        "seconds": tokens / tokens_per_s if tokens_per_s else None,
        "output_bytes": written * (sum(vector.row_bytes for vector in plan.stored) + HASH_AND_COUNT_BYTES + ID_BYTES),
    }


def _live(folder: Folder, plan: Plan, version: Version) -> int:
    return live_documents(folder, version) if plan.rows.is_chunked else version.totals["rows"]


def _tokens_per_byte(folder: Folder, plan: Plan) -> float:
    """As the dataset's own texts have it."""
    manifest = read_manifest(folder)
    text_bytes = plan.text_bytes()
    return manifest.totals.tokens / text_bytes if manifest is not None and text_bytes else 0.25
