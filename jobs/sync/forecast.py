"""`embermill plan` on an existing dataset: what a sync would do, found out without doing it. Nothing is written into the dataset."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from embermill.jobs.config import JobConfig
from embermill.jobs.dataset.metadata.manifest import read_manifest
from embermill.jobs.dataset.metadata.versions import Version, live_documents
from embermill.jobs.difference.difference import Action
from embermill.jobs.difference.differing import Totals
from embermill.jobs.difference.scan import ScanTotals
from embermill.jobs.difference.writing import partitions_of
from embermill.jobs.driver.display import Silent
from embermill.jobs.engine.loading import preview_engine
from embermill.jobs.errors import DataError, JobError
from embermill.jobs.partition import Partition
from embermill.jobs.plan.files import Plan
from embermill.jobs.plan.listing import tell_passed_over
from embermill.jobs.plan.planning import HASH_AND_COUNT_BYTES, ID_BYTES
from embermill.jobs.plan.token_counts import SAMPLED_ROWS, Sample, computed, mean_tokens, sampled
from embermill.jobs.storage import Folder
from embermill.jobs.storage.overlay import Overlay
from embermill.jobs.sync.job import Look, SyncOptions, stages_of
from embermill.jobs.sync.stages import Stages
from embermill.jobs.worker.selected import SelectedRows, selected

SCRATCH = "embermill-"  # as garbage.py knows our folders


def forecast_sync(config: JobConfig, folder: Folder, plan: Plan, *, quick: bool, tokens_per_s: float | None) -> dict[str, Any]:
    """Files by state, and, unless `quick`, the rows of all that would be read; of a dataset of chunks `of` says that those are documents.

    plan: of a finished dataset whose settings the configuration agrees with.
    """
    found = Look(config, folder, plan, SyncOptions())
    tell_passed_over(found.listed)
    told: dict[str, Any] = {"version": found.parent.number, "files": found.comparison.counts | {"scanned": len(found.comparison.scanned)}}
    unit = {"of": "documents"} if plan.rows.is_chunked else {}
    if quick or found.nothing_to_do:
        return told | unit | {"rows": None if quick and not found.nothing_to_do else {"unchanged": _live(folder, plan, found.parent)}}
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch:
        over = Overlay(folder, Path(scratch))
        stages = stages_of(plan)(config, over, plan, found.parent, None, Silent, None)
        scans, totals, writes = stages.decide(found.comparison, found.options(), look_again=found.rescanned)
        assert stages.number is not None
        refusal = _why_refused(stages, scans, totals)
        tokens = _counted(config, plan, selected(over, stages.number, plan.rows), partitions_of(writes, stages.scanned)[: writes.embedded])
    complete = config.corpus.complete
    if tokens is None:
        tokens = round(sum(part.text_bytes for part in writes.partitions if part.embed) * _tokens_per_byte(folder, plan))
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
        "refusal": refusal,
        "texts_to_embed": writes.rows_embedded,
        "vectors_to_copy": written - writes.rows_embedded,
        "tokens": tokens,
        "seconds": tokens / tokens_per_s if tokens_per_s else None,
        "output_bytes": written * (sum(vector.row_bytes for vector in plan.stored) + HASH_AND_COUNT_BYTES + ID_BYTES),
    }


def _why_refused(stages: Stages, scans: Sequence[ScanTotals], totals: Totals) -> str | None:
    """Of what was decided: why a sync would make no version of it; None where it would."""
    try:
        stages.judge(scans, totals)
    except DataError as error:
        return str(error)
    return None


def _live(folder: Folder, plan: Plan, version: Version) -> int:
    return live_documents(folder, version) if plan.rows.is_chunked else version.totals["rows"]


def _counted(config: JobConfig, plan: Plan, texts: SelectedRows, partitions: Sequence[Partition]) -> int | None:
    """Tokens of the texts that would be embedded, by a sample of them; None where the engine does not count, or something cannot be looked at.

    What changed may be much longer or shorter than what is there: the dataset's average was off by as much.
    """
    samples, written = list[Sample](), texts.writes.partitions
    with contextlib.suppress(JobError, OSError):
        engine = preview_engine(config.as_planned(plan).model, plan.device_kind, search_path=(str(Path.cwd()),))
        if engine.count_tokens is None:
            return None
        for partition in sampled(partitions):
            first = list(islice(chain.from_iterable(batch.texts.to_pylist() for batch in texts.read(partition)), SAMPLED_ROWS))
            lengths = computed(np.asarray(engine.count_tokens(first)), engine.max_tokens)
            samples.append(Sample(written[partition.number].rows, written[partition.number].text_bytes, lengths))
        return round(mean_tokens(samples) * sum(written[partition.number].rows for partition in partitions))
    return None


def _tokens_per_byte(folder: Folder, plan: Plan) -> float:
    """As the dataset's own texts have it."""
    manifest = read_manifest(folder)
    text_bytes = plan.text_bytes()
    return manifest.totals.tokens / text_bytes if manifest is not None and text_bytes else 0.25
