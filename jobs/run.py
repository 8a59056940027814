"""`embermill run`: configuration -> plan -> pool -> driver -> manifest -> Summary."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from embermill.counts import several
from embermill.jobs.bookkeeping.stored_keys import describe_changes
from embermill.jobs.config import JobConfig
from embermill.jobs.corpus.surveyed import SurveyedFile
from embermill.jobs.dataset.metadata.card import write_card
from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.completeness import SHARD_COLUMNS, unfinished
from embermill.jobs.dataset.metadata.first_quarantined import first_quarantined
from embermill.jobs.dataset.metadata.lease import Lease, hold_lease
from embermill.jobs.dataset.metadata.manifest import publish_manifest, read_manifest
from embermill.jobs.dataset.metadata.receipt_table import SUMMED, sum_receipts
from embermill.jobs.dataset.metadata.reconcile import is_settled, reconcile
from embermill.jobs.dataset.metadata.versions import live_documents, read_newest
from embermill.jobs.dataset.views.findings import FINDINGS, look_at_rows
from embermill.jobs.difference.seen import look_at_corpus, remember
from embermill.jobs.driver.display import Display, open_display
from embermill.jobs.driver.events import EventsFile
from embermill.jobs.driver.loop import stopped_by_signals
from embermill.jobs.driver.outcome import require_few_quarantined
from embermill.jobs.driver.stage import Stage, StageReport, carry_out
from embermill.jobs.driver.start_steps import StartSteps
from embermill.jobs.driver.summary import Effort, Summary, summarise
from embermill.jobs.metrics.ledger import Ledger
from embermill.jobs.plan.changes import fingerprint_changes, require_unchanged
from embermill.jobs.plan.copies import complete_copies
from embermill.jobs.plan.dataset_format import ensure_format, read_format
from embermill.jobs.plan.files import Plan, numbers_in, read_plan, write_plan
from embermill.jobs.plan.forecast import Prospect
from embermill.jobs.plan.listing import cut_file, lost_and_changed
from embermill.jobs.plan.planning import make_plan, partition_text_bytes
from embermill.jobs.pool.nodes import Nodes
from embermill.jobs.pool.opening import EarlyPool, Heard, OpenPool, await_first, open_pool
from embermill.jobs.preflight import report_other_listing, require_possible, resolve_device
from embermill.jobs.prepare import Prepared, prepare
from embermill.jobs.receipt import Ready
from embermill.jobs.shard.adoption import remove_superseded
from embermill.jobs.stages.rereading import require_same_inputs, resume
from embermill.jobs.stages.scales import measure_forms, sample_of, unmeasured
from embermill.jobs.stages.token_review import review_tokens
from embermill.jobs.stages.without_worker import ready_without_worker
from embermill.jobs.storage import AlreadyExists, Folder
from embermill.jobs.vectors.choosing import choose_vectors
from embermill.jobs.vectors.form import StoredVector
from embermill.jobs.wording import units

log = logging.getLogger(__name__)


CLIPPED_SHARE = 0.001  # of numbers, above which it is told: ten times as many as a scale leaves outside on its sample
Amend = Callable[[Folder, Plan, CommitLog], Plan]
"""The plan as it is from now on: the same one, or one that was written in its place. Called under the lease, once the commits are what is true."""


def run(
    config: JobConfig,
    *,
    limit: int | None = None,
    events_file: str | Path | None = None,
    progress: Display | None = None,
    amend: Amend | None = None,
    ledger: Ledger | None = None,
    steps: StartSteps | None = None,
) -> Summary:
    """Embed the corpus, or resume; a finished dataset is left as it is.

    limit: only the first rows, into a dataset of their own. events_file: gets a JSON line for each committed shard. progress: where to show it.
    ledger: is told what monitoring systems want to know. steps: of the start, as far as it has come.
    Raises UsageError, DataError, AnotherRun or Interrupted; what is committed by then stays.
    """
    begin_s = time.monotonic()
    with early_pool() as early:
        found = prepare(config, limit=limit, begin=early.begin)
        return run_prepared(found, early, begin_s, events_file=events_file, progress=progress, amend=amend, ledger=ledger, steps=steps)


def early_pool() -> EarlyPool:
    """For the workers of a run, whose look at corpus and model it is to be begun beside."""
    return EarlyPool(open_pool)


def run_prepared(
    found: Prepared, early: EarlyPool, begin_s: float, *, events_file: str | Path | None = None, progress: Display | None = None,
    amend: Amend | None = None, without_rows: bool = False, ledger: Ledger | None = None, steps: StartSteps | None = None,
) -> Summary:  # fmt: skip
    """The same for who has prepared already. early: what may have been begun then. begin_s: when that began, by time.monotonic().

    without_rows: a dataset that does not stand yet is begun without any: what the corpus holds is new to its first `sync`.
    """
    config, folder, plan, limited = found.config, found.folder, found.plan, found.limit is not None
    events = None if events_file is None else EventsFile(Path(events_file), folder.root)
    if plan is not None and found.finished and is_settled(folder, plan, commits := CommitLog(folder)):
        seen = None if limited else look_at_corpus(folder, plan, config.corpus)
        if seen is not None:
            remember(folder, seen)
        return replace(_Job(config, folder, commits, None, early, begin_s, events).conclude(plan), prompts=found.prompts, corpus=seen)
    found.require_exclusive()
    with hold_lease(folder, lease_s=config.output.lease_s) as lease:
        commits = CommitLog(folder, lease.token)
        job = _Job(
            config, folder, commits, lease, early, begin_s, events, limited=limited, listed_s=found.listed_s, without_rows=without_rows, ledger=ledger,
            steps=steps,
        )  # fmt: skip
        plan = job.embed_rest(found.prospect, progress or open_display(), amend)
        if read_manifest(folder) is None:
            review_tokens(config, folder, plan, job.commits, lease)
        return replace(job.conclude(plan), prompts=found.prompts)


class _Job:
    """One run: what it found when it began, and what it adds. lease: None where nothing is to be written."""

    def __init__(
        self, config: JobConfig, folder: Folder, commits: CommitLog, lease: Lease | None, early: EarlyPool, begin_s: float, events: EventsFile | None, *,
        limited: bool = False, listed_s: float = 0.0, without_rows: bool = False, ledger: Ledger | None = None, steps: StartSteps | None = None,
    ) -> None:  # fmt: skip
        self._limited, self._listed_s, self._without_rows = limited, listed_s, without_rows
        self._ledger, self._early = ledger or Ledger(folder.root), early
        self._config, self._folder, self._commits, self._lease, self._begin_s, self._events = config, folder, commits, lease, begin_s, events
        self._effort = _effort_before(commits)
        self._steps = steps or StartSteps(begin_s)
        self._steps.done("corpus and model looked at")

    @property
    def commits(self) -> CommitLog:
        return self._commits

    def embed_rest(self, prospect: Prospect | None, display: Display, amend: Amend | None = None) -> Plan:
        """All that is left to do; the plan, which is written first where there is none. prospect: what is known of corpus and model, for that plan."""
        plan = read_plan(self._folder)
        if plan is not None:  # also where another run has written it since we first looked
            require_possible(plan, self._config, self._folder)
            ensure_format(self._folder)
            complete_copies(self._folder)
            self._reconcile(plan)
            if amend is not None:
                plan = self._amended(plan, amend)
            return self._resume(plan, display)
        files = () if prospect is None else prospect.files
        return (None if prospect is None else self._plan_nothing(prospect)) or self._embed(None, files, display)

    def _plan_nothing(self, prospect: Prospect) -> Plan | None:
        """The plan of a corpus with nothing to embed, made without a worker; None where there is something, or where one must be asked."""
        if self._config.ray.address is not None or (not self._without_rows and _partitions_at_most(self._config, prospect.files, prospect.device)):
            return None
        ready = ready_without_worker(self._config, prospect)
        forms = () if ready is None else choose_vectors(self._config, ready.outputs, ready.shortening, ready.fingerprint)
        if ready is None or unmeasured(forms):
            return None
        plan = self._write_plan(prospect.files, ready, forms)
        self._reconcile(plan)
        return plan if not len(plan.current) else None

    def _resume(self, plan: Plan, display: Display) -> Plan:
        """Go on with a plan, as far as its files allow."""
        changed = None
        if read_manifest(self._folder) is None:
            plan, changed = resume(plan, self._commits, self._config.corpus, limited=self._limited)
        if self._unfinished(plan):
            resolve_device(self._config, plan.device_kind)
            plan = self._embed(plan, (), display)
        if changed is not None:
            raise changed
        return plan

    def _embed(self, plan: Plan | None, files: tuple[SurveyedFile, ...], display: Display) -> Plan:
        address = self._config.ray.address
        with display, contextlib.ExitStack() as stack:
            display.phase("starting Ray" if address is None else f"joining the cluster (ray.address: {address})")
            opened = stack.enter_context(self._early.open(self._config, self._folder, plan))
            started = opened.wait()
            stop = stack.enter_context(stopped_by_signals())
            self._steps.done("Ray started" if address is None else "cluster joined", started)
            self._ledger.publish_if_due(time.monotonic())
            useful = self._unfinished(plan) if plan else _partitions_at_most(self._config, files, opened.placement.device)
            workers = opened.begin_with(useful)
            display.phase(f"starting {several(workers, 'worker')} and loading the model")
            nodes = Nodes()
            heard, ready = await_first(opened.pool, workers, stop, nodes)
            self._steps.heard(ready)
            if plan is None:
                forms = self._forms(files, ready, opened, heard, display, stop)
                display.phase("writing the plan")
                plan = self._write_plan(files, ready, forms)
                self._steps.done("plan written")
                self._reconcile(plan)  # shards are there already where the plan was lost and is made again
            if len(plan.current):
                self._drive(plan, opened, workers, heard, nodes, display, stop)
        require_same_inputs(plan, self._commits, limited=self._limited)
        return plan

    def _forms(
        self, files: tuple[SurveyedFile, ...], ready: Ready, opened: OpenPool, heard: Heard, display: Display, stop: threading.Event
    ) -> tuple[StoredVector, ...]:
        """The columns that vectors are stored in, with their scales."""
        forms = choose_vectors(self._config, ready.outputs, ready.shortening, ready.fingerprint)
        if not unmeasured(forms):
            return forms
        task = sample_of(self._config, files, forms)
        assert task.sample is not None
        display.phase(f"measuring scales on a sample of at most {several(task.sample.texts, 'text')}")
        return measure_forms(opened.pool, heard, task, stall_s=self._config.workers.partition_stall_s, stop=stop)

    def _unfinished(self, plan: Plan) -> int:
        """How many partitions are."""
        return len(unfinished(plan, self._commits.columns(SHARD_COLUMNS)))

    def _amended(self, plan: Plan, amend: Amend) -> Plan:
        amended = amend(self._folder, plan, self._commits)
        if amended is not plan:
            self._commits = CommitLog(self._folder, self._commits.token)
            self._effort = _effort_before(self._commits)
            self._tell(amended)
        return amended

    def _reconcile(self, plan: Plan) -> None:
        """Bring the commits to what is true, and remember what was there when this run began."""
        if self._lease is not None:
            self._lease.fence(self._commits)
        reconcile(self._folder, plan, self._commits)
        self._effort = _effort_before(self._commits)
        self._tell(plan)

    def _tell(self, plan: Plan) -> None:
        """Bring the events file up to what is committed."""
        if self._events is not None:
            self._events.catch_up(self._commits.receipts(), numbers_in(plan.superseded))

    def conclude(self, plan: Plan) -> Summary:
        """Judge what was refused, publish the manifest last."""
        if self._lease is None:
            self._tell(plan)
        totals, limit = sum_receipts(self._commits.columns(SUMMED)), self._config.corpus.max_quarantined
        first = first_quarantined(self._folder, self._commits.columns(["quarantine"]))
        require_few_quarantined(self._folder.root, totals, limit, first, published=lambda: read_manifest(self._folder) is not None)
        if self._lease is not None:
            self._lease.require_held()
            remove_superseded(self._folder, plan)
        manifest = publish_manifest(self._folder, plan, self._commits, lambda receipts: self._find(plan, receipts))
        if self._lease is not None and plan.tells_versions:
            write_card(self._folder)
        effort = replace(self._effort, seconds=time.monotonic() - self._begin_s)
        summary = summarise(
            self._folder.root, manifest, effort, first_quarantined=first, device=plan.device_kind, precision=plan.precision, vectors=plan.vectors,
            newest=(newest := read_newest(self._folder)),
            live_documents=live_documents(self._folder, newest) if newest is not None and plan.rows.is_chunked else None,
        )  # fmt: skip
        if summary.share_clipped > CLIPPED_SHARE:
            log.warning(
                "%.2g of the numbers in compact columns were too large for their codes and clipped: the corpus differs from the sample that the scales were "
                "measured on; `embermill verify %s --recall 1000` tells what that costs", summary.share_clipped, self._folder.root,
            )  # fmt: skip
        return summary

    def _find(self, plan: Plan, receipts: pa.Table) -> dict[str, Any]:
        """What is said in the manifest beside the account."""
        planned = read_plan(self._folder) or plan  # as it is written: ours may point to files as they are now
        gone, changed = (0, 0) if self._limited else lost_and_changed(planned.listing, self._config.corpus)
        return {FINDINGS: replace(look_at_rows(self._folder, plan, receipts), files_gone=gone, files_changed=changed).to_json()}

    def _write_plan(self, files: tuple[SurveyedFile, ...], ready: Ready, forms: tuple[StoredVector, ...]) -> Plan:
        versions = read_format(self._folder) != 1  # a plan that is made again in an older dataset must be like the one that was lost
        plan = make_plan(
            self._config, ready.fingerprint, ready.outputs, ready.device_kind, ready.precision, files=files, tells_versions=versions,
            listed_s=self._listed_s, vectors=forms,
        )  # fmt: skip
        if self._without_rows:
            plan = replace(plan, partitions=(), listing=())
        try:
            write_plan(self._folder, plan)
        except AlreadyExists:  # another run was faster: its plan holds, if it is of the same job
            other = read_plan(self._folder)
            assert other is not None
            require_unchanged(other, self._config, ready.fingerprint)
            report_other_listing(plan, other)
            return other
        return read_plan(self._folder) or plan  # as it is stored it takes a tenth of the memory

    def _drive(self, plan: Plan, opened: OpenPool, workers: int, heard: Heard, nodes: Nodes, display: Display, stop: threading.Event) -> None:
        report, before = StageReport(), sum_receipts(self._commits.columns(SUMMED))
        self._ledger.before(
            documents=before.documents, tokens=before.tokens, tokens_dropped=before.tokens_dropped, rows_quarantined=before.rows_quarantined
        )
        stage = Stage(
            self._config, self._folder, plan.current, self._commits.shards, self._commits, opened, workers, plan.device_kind, display, stop,
            lease=self._lease, heard=heard, nodes=nodes, refuse=lambda ready: why_not(plan, ready), events=self._events,
            on=f"{plan.device_kind}, {plan.precision}", ledger=self._ledger, steps=self._steps,
            unit=units(plan.rows.is_chunked)[1],
        )  # fmt: skip
        try:
            carry_out(stage, report)
        finally:
            self._effort = replace(self._effort, **vars(report))


def _effort_before(commits: CommitLog) -> Effort:
    """What was there when this run began."""
    before = sum_receipts(commits.columns(SUMMED))
    return Effort(before.shards, before.rows_in, before.rows_out, before.documents, before.tokens)


def why_not(plan: Plan, ready: Ready) -> str | None:
    """Why a worker must not work on this plan: other weights, another tokenizer, another kind of device."""
    changes = fingerprint_changes(plan.fingerprint, ready.fingerprint)
    changes += describe_changes(
        {"workers.device": plan.device_kind, "outputs": plan.outputs}, {"workers.device": ready.device_kind, "outputs": ready.outputs}
    )
    return f"the worker on {ready.host} would make other vectors than the plan's: {'; '.join(changes)}" if changes else None


def _partitions_at_most(config: JobConfig, files: tuple[SurveyedFile, ...], device: str) -> int:
    target = partition_text_bytes(config, device)
    return sum(1 for file in files for _ in cut_file(file, target))
