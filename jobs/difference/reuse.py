"""`--reuse URI`: another dataset whose vectors this one may take: of the same fingerprint, and stored as float32 or as this one stores them."""

from __future__ import annotations

from pathlib import Path

from embermill.jobs.bookkeeping.stored_keys import describe_changes
from embermill.jobs.config.job_config import ModelConfig
from embermill.jobs.dataset.metadata.versions import BASE, UPSERTS, read_version
from embermill.jobs.difference.held_vectors import reading_of
from embermill.jobs.engine.loading import describe_engine
from embermill.jobs.errors import UsageError
from embermill.jobs.plan.changes import fingerprint_changes
from embermill.jobs.plan.files import Plan, read_plan
from embermill.jobs.storage import Folder
from embermill.jobs.vectors.form import form_changes


def require_reusable(other: Folder, model: ModelConfig) -> None:
    """Before a dataset is begun whose vectors are taken from there: as far as can be said without loading the model. UsageError as of shards_of."""
    theirs = _plan_of(other)
    engine = describe_engine(model.as_planned(theirs), search_path=(str(Path.cwd()),))
    if engine is not None:
        _require_no_changes(other, fingerprint_changes(theirs.fingerprint, engine))


def shards_of(other: Folder, plan: Plan) -> tuple[str, ...]:
    """Names of its shards. UsageError where it is no finished dataset, or its vectors would be others than this one's."""
    theirs = _plan_of(other)
    changes = fingerprint_changes(theirs.fingerprint, plan.fingerprint)
    changes += describe_changes({"precision": theirs.precision, "outputs": theirs.outputs}, {"precision": plan.precision, "outputs": plan.outputs})
    _require_no_changes(other, changes)
    if reading_of(plan, theirs.stored) is None:
        differing = "; ".join(form_changes(theirs.stored, plan.stored))
        raise UsageError(
            f"--reuse {other.root}: its vectors are stored in another form than this dataset's, and not as float32, of which any form is made: {differing}: "
            "name a dataset with a column of float32, or with the same output.vectors"
        )
    return tuple(file.name for file in read_version(other).of_kind(BASE, UPSERTS))


def _plan_of(other: Folder) -> Plan:
    plan = read_plan(other)
    if plan is None:
        raise UsageError(f"--reuse {other.root}: there is no dataset here (no _embermill/plan): expected the output.uri of an `embermill run`")
    read_version(other)  # or it says that there is none yet
    return plan


def _require_no_changes(other: Folder, changes: list[str]) -> None:
    if changes:
        raise UsageError(f"--reuse {other.root}: its vectors differ from this dataset's: {'; '.join(changes)}: name one made with the same settings")
