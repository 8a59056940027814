"""The configuration that a dataset was made by, for commands that are given the dataset alone."""

from __future__ import annotations

from collections.abc import Sequence

from embermill.jobs.config import JobConfig, config_from_keys, require_whole
from embermill.jobs.plan.files import Plan


def config_as_planned(plan: Plan, root: str, overrides: Sequence[str]) -> JobConfig:
    """root: where the dataset is now. overrides: `section.key=value`. UsageError for one that does not fit, and where one must be given."""
    config = config_from_keys(plan.config | {"output.uri": root}, overrides)
    require_whole(config.model.source, root, "pass --set model.source=ADDRESS")
    return config
