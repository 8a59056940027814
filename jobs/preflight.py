"""What a run refuses before it starts a worker, and `embermill plan` in the same words: a worker takes its time to start, and would find the same."""

from __future__ import annotations

from pathlib import Path

from jobs.config import JobConfig
from jobs.engine.loading import describe_engine, promised_outputs
from jobs.errors import UsageError
from jobs.partition import Partition
from jobs.plan.changes import require_unchanged
from jobs.plan.files import Plan, require_place
from jobs.plan.listing import SurveyedFile, survey_files
from jobs.plan.planning import check_columns
from jobs.shard.footer import DATA, published_name
from jobs.storage import Folder, would_list


def require_possible(plan: Plan | None, config: JobConfig, folder: Folder) -> None:
    """Before anything else. plan: of the dataset that stands in the folder, finished or not: it must be of the same rows and vectors. UsageError."""
    if plan is None:
        _require_free_place(config, folder)
    else:
        _require_same(plan, config)


def survey_job(config: JobConfig, limit: int | None = None) -> tuple[SurveyedFile, ...]:
    """The corpus of a new dataset (its first `limit` rows), once it is sure that a plan can be made of it and of the model. UsageError and DataError."""
    outputs = promised_outputs(config.model, search_path=(str(Path.cwd()),))
    files = survey_files(config.corpus, limit)
    check_columns(config, files, outputs)
    return files


def _require_free_place(config: JobConfig, folder: Folder) -> None:
    require_place(folder)
    shard = f"{folder.root}/{published_name(DATA, Partition(0, '00000000', (), 0), 0)}"
    for entry in config.corpus.files:
        if would_list(entry, shard):
            raise UsageError(
                f"output.uri: {folder.root} lies where corpus.files: {entry} looks, and the dataset would be taken for corpus: "
                "put it elsewhere, or name the corpus more narrowly"
            )


def _require_same(plan: Plan, config: JobConfig) -> None:
    require_unchanged(plan, config)
    fingerprint = describe_engine(config.at_precision(plan.precision).model, search_path=(str(Path.cwd()),))
    if fingerprint is not None:
        require_unchanged(plan, config, fingerprint)
