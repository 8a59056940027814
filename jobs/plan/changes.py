"""Which configuration keys differ between a dataset's plan and a job that would go on with it: any that would make other rows or vectors is refused."""

from __future__ import annotations

import json

from embermill.jobs.config import JobConfig, flatten
from embermill.jobs.errors import UsageError
from embermill.jobs.plan.files import Plan

MAY_CHANGE = ("workers.", "ray.", "output.uri", "output.lease_s", "corpus.max_quarantined", "model.source", "model.revision", "model.query_prompt")
RESOLVED_BY_ENGINE = ("model.weights", "model.pooling", "model.normalize", "model.prompt", "model.prompt_name", "model.max_tokens", "model.dimensions")


def require_unchanged(plan: Plan, config: JobConfig, fingerprint: dict[str, str] | None = None) -> None:
    """UsageError, naming the keys, where the job would make other rows or vectors than the plan's."""
    if changes := changed_keys(plan, config, fingerprint):
        made = f"{config.output.uri}: this dataset was made with other settings: {'; '.join(changes)}"
        raise UsageError(f"{made}. Set them back, or choose another output.uri")


def changed_keys(plan: Plan, config: JobConfig, fingerprint: dict[str, str] | None = None) -> list[str]:
    """ "key: old -> new" for everything that would make other rows or vectors than the plan's, so that going on is refused.

    Without the engine's fingerprint (it costs loading a model) only what the configuration alone decides; with it, every key and digest of the model too.
    """
    new = flatten(config)
    changes = [change for key, value in new.items() if not key.startswith(MAY_CHANGE) and (change := _changed(plan, key, value, fingerprint is not None))]
    if fingerprint is not None:
        named = {change.partition(":")[0] for change in changes}
        for key in sorted(plan.fingerprint.keys() | fingerprint.keys()):
            old, now = plan.fingerprint.get(key), fingerprint.get(key)
            if old != now and key not in named:
                changes.append(f"{key}: {_shown(old)} -> {_shown(now)}")
    return changes


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
    return f"{key}: {_shown(old)} -> {_shown(value)}"


def _plain(value: object) -> str:
    return str(value).lower()


def _shown(value: object) -> str:
    if value is None:
        return "unset"
    return value if isinstance(value, str) and value.strip() == value and value else json.dumps(value, ensure_ascii=False)
