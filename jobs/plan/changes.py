"""Which configuration keys differ between a dataset's plan and a job that would resume it: any that would make other rows or vectors is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from embermill.jobs.bookkeeping.stored_keys import describe_change, describe_changes
from embermill.jobs.config import JobConfig, flatten
from embermill.jobs.engine import FINGERPRINT_IF_ABSENT, WHY_ADDED
from embermill.jobs.errors import UsageError
from embermill.jobs.plan.files import Plan
from embermill.jobs.vectors.choosing import choose_vectors
from embermill.jobs.vectors.form import StoredVector, form_changes, stored_vectors

MAY_CHANGE = (
    *("workers.", "ray.", "output.uri", "output.lease_s", "output.compact_at", "output.on_unconditional_puts"),
    *("corpus.complete", "corpus.max_deleted_share", "corpus.on_duplicate_id", "corpus.on_refused_update"),
    *("corpus.max_quarantined", "model.source", "model.revision", "model.query_prompt", "model.allow_truncation", "model.min_cosine"),
)
FORMS = "output.vectors"  # compared by what they became, apart from the fingerprint
FROM_NOW_ON = ("corpus.on_bad_file",)  # may change once a dataset is finished: a sync reads files by what the configuration says now
OF_TEXTS = ("corpus.", "chunk.")  # what decides which texts there are, and nothing of the vector that a text has
RESOLVED_BY_ENGINE = ("model.weights", "model.pooling", "model.normalize", "model.prompt", "model.prompt_name", "model.max_tokens", "model.dimensions")


def require_unchanged(plan: Plan, config: JobConfig, fingerprint: dict[str, str] | None = None, *, finished: bool = False) -> None:
    """UsageError, naming the keys, where the job would make other rows or vectors than the plan's."""
    if changes := changed_keys(plan, config, fingerprint, finished=finished):
        made = f"{config.output.uri}: this dataset was made with other settings: {'; '.join(changes)}"
        final = all(change.partition(": ")[2] in WHY_ADDED.values() for change in changes)
        advice = "Choose another output.uri" if final else "Set them back, or choose another output.uri"
        if finished and all(change.startswith(OF_TEXTS) for change in changes):
            advice += f": `embermill sync` with that and --reuse {config.output.uri} takes the vectors of equal texts from here"
        raise UsageError(f"{made}. {advice}")


def changed_keys(plan: Plan, config: JobConfig, fingerprint: dict[str, str] | None = None, *, finished: bool = False) -> list[str]:
    """ "key: old -> new" for everything that would make other rows or vectors than the plan's, so that going on is refused.

    Without the engine's fingerprint (it costs loading a model) only what the configuration alone decides; with it, every key and digest of the model too.
    """
    may_change = (*MAY_CHANGE, FORMS, *(FROM_NOW_ON if finished else ()))
    new = {key: value for key, value in flatten(config).items() if not key.startswith(may_change)}
    changes = [change for key, value in new.items() if (change := _changed(plan, key, value, fingerprint is not None))]
    changes += [f"{FORMS}: {change}" for change in form_changes(plan.stored, _forms_now(plan, config))]
    if fingerprint is not None:
        named = {change.partition(":")[0] for change in changes}
        changes += [change for change in fingerprint_changes(plan.fingerprint, fingerprint) if change.partition(":")[0] not in named]
    return changes


def fingerprint_changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """ "key: old -> new" for everything of an engine that would make other vectors."""
    added = {key: f"{key}: {why}" for key, why in WHY_ADDED.items() if key in new and key not in old}
    return [added.get(change.partition(":")[0], change) for change in describe_changes(old, new, FINGERPRINT_IF_ABSENT)]


def _forms_now(plan: Plan, config: JobConfig) -> tuple[StoredVector, ...]:
    """The columns of vectors that the configuration asks for, made of what the plan's engine makes; how a vector is cut is settled there."""
    allowed = config.model_copy(update={"model": config.model.model_copy(update={"allow_truncation": True})})
    chosen = choose_vectors(allowed, plan.outputs, None, plan.fingerprint)
    norms = {form.column: form.layer_norm_eps for form in plan.vectors}
    return stored_vectors(plan.outputs, [replace(form, layer_norm_eps=norms.get(form.column)) for form in chosen])


def _changed(plan: Plan, key: str, value: object, engine_decides: bool) -> str | None:
    """The change of one key of the configuration, None where it stays what it was (or the engine's fingerprint will tell)."""
    old = plan.config.get(key)
    if value == old or value == "auto":
        return None
    if key in RESOLVED_BY_ENGINE:
        resolved = plan.fingerprint.get(key)
        if engine_decides or value is None or resolved is None or _plain(resolved) == _plain(value):
            return None
        old = resolved
    return describe_change(key, old, value)


def _plain(value: object) -> str:
    return str(value).lower()

