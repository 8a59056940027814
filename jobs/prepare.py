"""What `plan`, `run` and `sync` do before anything else: look at the place, the model and the corpus, and refuse what a worker would find minutes later."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from embermill.jobs.config import JobConfig
from embermill.jobs.dataset.metadata.manifest import read_manifest
from embermill.jobs.engine import Closeness, Prompts
from embermill.jobs.plan.files import Plan, read_plan
from embermill.jobs.plan.forecast import Prospect
from embermill.jobs.preflight import find_prompts, look_ahead, report_changes, report_private_ray, require_exclusive, require_possible
from embermill.jobs.stages.closeness import require_close
from embermill.jobs.storage import Folder, open_folder


@dataclass(frozen=True)
class Prepared:
    """config: as given, but for output.uri of a job of the first `limit` rows. plan: of the dataset that is in the folder, finished or not.

    prospect: of a new dataset, None where one stands. listed_s: when the corpus was listed for it, in seconds since the epoch.
    prompts: None where the engine does not say. closeness: of a new dataset in bfloat16 or int8 on a CPU.
    """

    config: JobConfig
    limit: int | None
    folder: Folder
    plan: Plan | None
    finished: bool
    prospect: Prospect | None
    prompts: Prompts | None
    listed_s: float
    closeness: Closeness | None = None

    @property
    def ids_are_positions(self) -> bool:
        """Whether rows are known by file and position alone."""
        if self.prospect is not None:
            return self.prospect.rows.id_column is None
        return self.plan is not None and self.plan.id_stability == "positional"

    def require_exclusive(self) -> None:
        """Before the first write. UsageError where the storage could not keep two runs apart."""
        require_exclusive(self.folder, accepted=self.config.output.on_unconditional_puts == "accept")


def prepare(config: JobConfig, *, limit: int | None = None, begin: Callable[[JobConfig, Folder], None] | None = None) -> Prepared:
    """limit: only the first rows, into a dataset of their own. Nothing is written. UsageError and DataError, each in the words of whoever would meet it.

    begin: called once it is likely that there is a new dataset to make, with its configuration and its folder: what can be made ready beside the look.
    """
    config = _limited(config, limit)
    folder = open_folder(config.output.uri, looks_first=config.output.on_unconditional_puts == "accept")
    plan = read_plan(folder)
    require_possible(plan, config, folder)
    finished = plan is not None and read_manifest(folder) is not None
    if plan is not None and limit is None and not finished:
        report_changes(plan, config)
    if not finished:
        report_private_ray(config)
    listed_s = time.time()
    prospect = look_ahead(config, limit, begin and partial(begin, config, folder)) if plan is None else None
    closeness = None if prospect is None else require_close(config, prospect.device, prospect.files, prospect.rows)
    return Prepared(config, limit, folder, plan, finished, prospect, find_prompts(config, plan), listed_s, closeness)


def _limited(config: JobConfig, limit: int | None) -> JobConfig:
    """A dataset of its own for the first rows: beside the whole one, never in it."""
    if limit is None:
        return config
    uri = f"{config.output.uri.rstrip('/')}-first-{limit}"
    return config.model_copy(update={"output": config.output.model_copy(update={"uri": uri})})
