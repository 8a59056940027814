"""`--reuse URI`: another dataset whose vectors this one may take: of the same fingerprint, and stored as float32 or as this one stores them."""

from __future__ import annotations

from embermill.jobs.bookkeeping.stored_keys import describe_changes
from embermill.jobs.dataset.metadata.versions import BASE, UPSERTS, read_version
from embermill.jobs.difference.held_vectors import reading_of
from embermill.jobs.errors import UsageError
from embermill.jobs.plan.changes import fingerprint_changes
from embermill.jobs.plan.files import Plan, read_plan
from embermill.jobs.storage import Folder
from embermill.jobs.vectors.form import form_changes


def shards_of(other: Folder, plan: Plan) -> tuple[str, ...]:
    """Names of its shards. UsageError where it is no finished dataset, or its vectors would be others than this one's."""
    theirs = read_plan(other)
    if theirs is None:
        raise UsageError(f"--reuse {other.root}: there is no dataset here (no _embermill/plan): expected the output.uri of an `embermill run`")
    changes = fingerprint_changes(theirs.fingerprint, plan.fingerprint)
    changes += describe_changes({"precision": theirs.precision, "outputs": theirs.outputs}, {"precision": plan.precision, "outputs": plan.outputs})
    if changes:
        raise UsageError(f"--reuse {other.root}: its vectors are others than this dataset's: {'; '.join(changes)}: name a dataset that was made alike")
    if reading_of(plan, theirs.stored) is None:
        differing = "; ".join(form_changes(theirs.stored, plan.stored))
        raise UsageError(
            f"--reuse {other.root}: its vectors are stored in another form than this dataset's, and not as float32, of which any form is made: {differing}: "
            "name a dataset with a column of float32, or with the same output.vectors"
        )
    return tuple(file.name for file in read_version(other).of_kind(BASE, UPSERTS))
