"""`embermill sync`: list -> scan -> difference -> embed and copy -> commit. What it adds to a dataset is a version, or nothing."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embermill.jobs.config import JobConfig
from embermill.jobs.dataset.metadata.completing import complete_if_possible, complete_version
from embermill.jobs.dataset.metadata.lease import hold_lease
from embermill.jobs.dataset.metadata.schema import require_own_version
from embermill.jobs.dataset.metadata.standing import standing_of
from embermill.jobs.dataset.metadata.versions import Version, abandon_version, documents_of, is_worth_compacting, read_version
from embermill.jobs.difference.claim import latest_inputs
from embermill.jobs.difference.importing import BOUND, list_imports
from embermill.jobs.difference.inputs import Comparison, compare
from embermill.jobs.difference.reuse import require_reusable, shards_of
from embermill.jobs.difference.seen import SEEN
from embermill.jobs.driver.display import Display, open_display
from embermill.jobs.driver.events import EventsFile
from embermill.jobs.driver.start_steps import StartSteps
from embermill.jobs.errors import AnotherRun, DataError, InputChanged, Interrupted, MatchesNothing, UsageError
from embermill.jobs.metrics.ledger import Ledger
from embermill.jobs.plan.files import Plan, require_plan
from embermill.jobs.plan.listing import CorpusListing, list_corpus, tell_passed_over
from embermill.jobs.prepare import Prepared, prepare
from embermill.jobs.run import early_pool, run_prepared
from embermill.jobs.storage import Folder, open_folder
from embermill.jobs.sync.chunk_stages import ChunkStages
from embermill.jobs.sync.counting import unseen_in
from embermill.jobs.sync.imports import look_at_imports, require_bound
from embermill.jobs.sync.stages import Stages
from embermill.jobs.sync.summary import SyncSummary
from embermill.jobs.versions.compact import compact
from embermill.jobs.versions.making import make_version

log = logging.getLogger(__name__)

ATTEMPTS = 2  # a corpus that is written to meanwhile is listed once more


@dataclass(frozen=True)
class SyncOptions:
    """What the command line says. allow_deletes: up to so many rows, whatever corpus.max_deleted_share. reuse: datasets that vectors may be taken from.
    imports: files of vectors that were made elsewhere; import_bound: of the cosine of such a vector and the engine's own.
    """

    rescan: bool = False
    retry_quarantined: bool = False
    allow_deletes: int | None = None
    reuse: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    import_bound: float = BOUND


def sync(
    config: JobConfig, chosen: SyncOptions = SyncOptions(), *, events_file: str | Path | None = None, progress: Display | None = None,
    ledger: Ledger | None = None, steps: StartSteps | None = None,
) -> SyncSummary:  # fmt: skip
    """Bring the dataset to what the corpus is now; where there is none, or an unfinished one, this is a run. Then compact it, where that is due.

    Raises UsageError, DataError, AnotherRun or Interrupted. A version that was begun stays invisible, and its vectors are not lost.
    """
    summary = _sync(config, chosen, events_file, progress, ledger, steps)
    return replace(summary, compacted=_compact_if_due(config))


def stages_of(plan: Plan) -> type[Stages]:
    return ChunkStages if plan.rows.is_chunked else Stages


def _require_texts_of_rows(config: JobConfig) -> None:
    """UsageError for a dataset of chunks: what would be imported are vectors of documents."""
    if config.model.on_long_text == "split":
        raise UsageError(
            "--import-vectors takes vectors of whole texts, and with model.on_long_text: split vectors are of chunks: leave it out "
            "(--reuse takes those of another dataset that was made with the same settings)"
        )


def _compact_if_due(config: JobConfig) -> int | None:
    """The number of the version that did it (output.compact_at), also for a sync that was killed before it could."""
    share = config.output.compact_at
    if share is None or not is_worth_compacting(read_version(open_folder(config.output.uri)), share):
        return None
    log.info("as many rows have changed as output.compact_at: %g allows: a new base is written", share)
    try:
        made = make_version(config.output.uri, "compact", compact)
    except AnotherRun as error:
        log.warning("not compacted this time: %s", error)
        return None
    return None if made is None else made.number


def _sync(
    config: JobConfig, chosen: SyncOptions, events_file: str | Path | None, progress: Display | None, ledger: Ledger | None,
    steps: StartSteps | None = None,
) -> SyncSummary:  # fmt: skip
    begin_s = time.monotonic()
    with early_pool() as early:
        without_rows = bool(chosen.imports or chosen.reuse)  # a dataset that does not stand yet is then begun with none, and no worker
        ready = prepare(config, begin=None if without_rows else early.begin)
        _require_ids(ready)
        folder, plan = ready.folder, ready.plan
        if chosen.imports:
            _require_texts_of_rows(config)
            require_bound(chosen.import_bound)
            list_imports(config.corpus, chosen.imports)
        if plan is None or not ready.finished:
            if plan is None:
                for uri in chosen.reuse:
                    require_reusable(open_folder(uri), config.model)
            summary = run_prepared(
                ready, early, begin_s, events_file=events_file, progress=progress, without_rows=without_rows, ledger=ledger, steps=steps
            )
            plan = require_plan(folder)
            if not plan.listing:  # it was begun without rows: all of them are new
                return _sync(config, chosen, events_file, progress, ledger)
            return SyncSummary("run", folder.root, 1, rows=summary.rows_out, rows_new=summary.rows_embedded, seconds=summary.seconds, run=summary)
    require_own_version(plan, folder.root)
    for uri in chosen.reuse:
        shards_of(open_folder(uri), plan)
    events = None if events_file is None else EventsFile(Path(events_file), folder.root)
    found = Look(config, folder, plan, chosen)
    tell_passed_over(found.listed)
    if found.nothing_to_do:
        complete_if_possible(folder, found.parent, lease_s=config.output.lease_s)
        return _told(found.report(time.monotonic() - begin_s), events)
    ready.require_exclusive()
    with hold_lease(folder, lease_s=config.output.lease_s, purpose="sync") as lease:
        complete_version(folder)
        for attempt in range(ATTEMPTS):
            found = Look(config, folder, plan, chosen)  # another run may have been at work until now, or the corpus has changed
            if found.nothing_to_do:
                return _told(found.report(time.monotonic() - begin_s), events)
            display = open_display if progress is None else lambda: progress
            stages = stages_of(plan)(config, folder, plan, found.parent, lease, display, chosen.allow_deletes, found.imports, ledger)
            try:
                summary_ = stages.carry_out(found.comparison, found.listed_s, found.options(), look_again=found.rescanned)
                folder.remove(SEEN)
                return _told(replace(summary_, abandoned=attempt, seconds=round(time.monotonic() - begin_s, 3)), events)
            except InputChanged as error:
                if stages.number is None:
                    raise
                log.warning("the corpus changed meanwhile: version %d is abandoned; what it embedded is used again: %s", stages.number, error)
                abandon_version(folder, stages.number, "the corpus changed while it was made")
        raise Interrupted(f"{folder.root}: the corpus changed twice while a version was made: run again; what was embedded is used again")


def _told(summary: SyncSummary, events: EventsFile | None) -> SyncSummary:
    if events is not None:
        events.tell_of_sync({name: value for name, value in summary.to_json().items() if name not in ("output", "run")})
    return summary


class Look:
    """The corpus against the newest version, from the listing alone."""

    def __init__(self, config: JobConfig, folder: Folder, plan: Plan, chosen: SyncOptions) -> None:
        self._config, self._folder, self._chosen = config, folder, chosen
        self.parent: Version = read_version(folder)
        self._documents = documents_of(folder, plan, self.parent)
        self._previous = latest_inputs(folder, plan, self.parent, rescan=chosen.rescan)
        self.listed_s = time.time()
        self.listed = list_or_refuse(config, folder)
        self.imports = look_at_imports(config, plan, chosen.imports, chosen.import_bound)
        self.comparison = self._compare(chosen.rescan)

    def _compare(self, rescan: bool) -> Comparison:
        return compare(self._previous, self.listed, rescan=rescan, retry_quarantined=self._chosen.retry_quarantined)

    def rescanned(self) -> Comparison:
        """Where nothing may be believed."""
        return self._compare(True)

    @property
    def nothing_to_do(self) -> bool:
        owed = self._config.corpus.complete and unseen_in(self.parent) > 0
        return self.comparison.nothing_to_do and not owed

    def options(self) -> dict[str, Any]:
        """What shapes the version beside the listing."""
        corpus, chosen = self._config.corpus, self._chosen
        return {
            "complete": corpus.complete,
            "on_refused_update": corpus.on_refused_update,
            "on_bad_file": corpus.on_bad_file,
            "rescan": chosen.rescan,
            "retry_quarantined": chosen.retry_quarantined,
            "reuse": [open_folder(uri).root for uri in chosen.reuse],
        } | ({} if self.imports is None else {"imports": self.imports.option()})

    def report(self, seconds: float) -> SyncSummary:
        """Where there is nothing to do."""
        files = self.comparison.counts | {"scanned": 0}
        summary = SyncSummary(
            "nothing", self._folder.root, self.parent.number, self.parent.parent, files=files, rows=self.parent.totals["rows"], seconds=round(seconds, 3),
            documents=None if self._documents is None else {"live": self._documents},
        )  # fmt: skip
        kept = standing_of(self.parent)
        return replace(summary, rows_unseen=kept["unseen"], rows_stale=kept["stale"], rows_refused=kept["refused"])


def list_or_refuse(config: JobConfig, folder: Folder) -> CorpusListing:
    """The corpus as it is listed now. DataError where an entry matches no file: a dataset is never emptied for that."""
    try:
        listed = list_corpus(config.corpus)
    except MatchesNothing as error:
        raise DataError(f"{error}: nothing of {folder.root} is deleted for an empty listing: put the files back, or name others in corpus.files") from None
    return listed


def _require_ids(ready: Prepared) -> None:
    """UsageError where rows are known by their places alone: an edit would be taken for another row."""
    if ready.ids_are_positions:
        raise UsageError(
            "sync needs ids that stay with their rows, and this corpus has none (its rows are known by file and position): "
            "name a column of ids in corpus.id_column, in a dataset of its own (output.uri)"
        )
