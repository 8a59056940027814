"""The stages of a sync once it is known that there is something to do. Each is made of tasks that publish files once; who is killed and begins again finds
them there."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from embermill.jobs.config import JobConfig
from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.completing import complete_version
from embermill.jobs.dataset.metadata.keys import buckets_for, buckets_of
from embermill.jobs.dataset.metadata.lease import Lease
from embermill.jobs.dataset.metadata.reconcile import reconcile
from embermill.jobs.dataset.metadata.versions import KEYS, Contents, Version, commit_version
from embermill.jobs.difference.base_keys import base_keys, key_tasks, knows_files, numbered, split_name, with_keys
from embermill.jobs.difference.claim import CAUSE as SYNC_CAUSE
from embermill.jobs.difference.claim import INPUTS, LISTED, NEXT_FILE, Claim, claim, note_listing, write_table
from embermill.jobs.difference.committing import RECEIPT_COLUMNS, Added, add_up, inputs_after, made_below, refused_by_file
from embermill.jobs.difference.difference import Action
from embermill.jobs.difference.differing import Totals, difference_name, difference_tasks, read_difference_totals
from embermill.jobs.difference.duplicates import quarantine_duplicates
from embermill.jobs.difference.guards import require_few_deletes, require_few_refused, require_no_duplicates
from embermill.jobs.difference.importing import IMPORTED, import_name
from embermill.jobs.difference.inputs import Comparison, to_table
from embermill.jobs.difference.making import SYNC, VersionFolder, clear_steps
from embermill.jobs.difference.receipts import StepLog, step_receipt
from embermill.jobs.difference.scan import ScanTotals, read_totals, scan_name
from embermill.jobs.difference.writing import Candidates, Rows, Writes, bytes_of_vectors, collect, create_writes, cut_rows, partitions_of, read_writes, settle
from embermill.jobs.driver.commit_buffer import Log
from embermill.jobs.driver.display import Display, Silent
from embermill.jobs.driver.loop import stopped_by_signals
from embermill.jobs.driver.stage import Stage, StageReport, carry_out
from embermill.jobs.metrics.ledger import Ledger
from embermill.jobs.partition import Partition
from embermill.jobs.plan.dataset_format import upgrade_format
from embermill.jobs.plan.files import Plan, read_plan, write_plan
from embermill.jobs.plan.planning import partition_text_bytes, shard_schema
from embermill.jobs.pool.inline import InlinePool
from embermill.jobs.pool.nodes import Nodes
from embermill.jobs.pool.opening import OpenPool, await_first, open_pool, worker_job
from embermill.jobs.pool.placement import Placement, light_workers
from embermill.jobs.receipt import COLLECT_KEYS, COPY, DIFFERENCE, EMBED, IMPORT, SCAN, SPLIT_KEYS, Receipt
from embermill.jobs.run import why_not
from embermill.jobs.storage import AlreadyExists, Folder
from embermill.jobs.sync.counting import count_empty, count_rows, stale_now, standing_now, unseen_in
from embermill.jobs.sync.finding import find_texts
from embermill.jobs.sync.imports import Imports
from embermill.jobs.sync.passing_over import is_worth_a_version, pass_over
from embermill.jobs.sync.scanned import partitions_to_scan
from embermill.jobs.sync.some_row import require_some_row
from embermill.jobs.sync.summary import SyncSummary, describe_listing
from embermill.jobs.wording import units
from embermill.jobs.worker.steps import Steps
from embermill.jobs.worker.worker import Making, Worker

log = logging.getLogger(__name__)

SCANNED_BYTES = 8 << 20  # of text, in a partition to scan, at least: it holds its keys and nothing else
INLINE_BYTES, INLINE_ROWS = 256 << 20, 2_000_000  # of text to scan, and of live rows: up to here this process scans, compares and copies by itself


class Stages:
    """One version, from the claim to the commit. number: of the version that is made, None before it is claimed. scanned: what was, once it is."""

    def __init__(
        self, config: JobConfig, folder: Folder, plan: Plan, parent: Version, lease: Lease | None, display: Callable[[], Display],
        allow_deletes: int | None, imports: Imports | None = None, ledger: Ledger | None = None,
    ) -> None:  # fmt: skip
        """lease: None for who only wants to know (`decide`), over a folder that is thrown away. imports: vectors that are given."""
        self._config, self._folder, self._plan, self._parent = config, folder, plan, parent
        self._lease, self._display, self._allow_deletes = lease, display, allow_deletes
        self._imports, self._given = imports, list[str]()
        self._imported: dict[str, Any] | None = None
        self.number: int | None = None
        self._inline = parent.totals["rows"] <= INLINE_ROWS
        self._ledger = ledger or Ledger(folder.root)

    def carry_out(self, found: Comparison, listed_s: float, options: dict[str, Any], *, look_again: Callable[[], Comparison]) -> SyncSummary:
        """look_again: the comparison in which every file is scanned."""
        with stopped_by_signals() as stop:
            self._stop = stop
            made = self._begin(found, options, look_again)
            listed_s = note_listing(self._folder, made.number, listed_s)
            log.info("making version %d: %s", made.number, describe_listing(made.comparison.counts | {"scanned": len(made.comparison.scanned)}))
            parts, scans, totals = self._compare()
            self.judge(scans, totals)
            self._read_imports()
            writes = self._decide(scans)
            commits = self._write(writes, parts)
        return self._commit(scans, totals, writes, commits, listed_s)

    def decide(self, found: Comparison, options: dict[str, Any], *, look_again: Callable[[], Comparison]) -> tuple[Sequence[ScanTotals], Totals, Writes]:
        """What a sync would do, with nothing judged, embedded or copied."""
        with stopped_by_signals() as stop:
            self._stop = stop
            self._begin(found, options, look_again)
            _, scans, totals = self._compare()
            return scans, totals, self._decide(scans)

    def _begin(self, found: Comparison, options: dict[str, Any], look_again: Callable[[], Comparison]) -> Claim:
        upgrade_format(self._folder)
        if not self._ensure_keys():
            found = look_again()
        text_bytes = max(SCANNED_BYTES, partition_text_bytes(self._config, self._plan.device_kind))
        buckets = buckets_of(with_keys(self._folder, self._parent)) or buckets_for(self._parent.totals["rows"])
        made, parent = claim(self._folder, found, options=options, buckets=buckets, text_bytes=text_bytes)
        self._claim, self._parent, self.number = made, with_keys(self._folder, parent), made.number
        self._making = VersionFolder(self._folder, made.number)
        return made

    def _ensure_keys(self) -> bool:
        """That the parent has keys; whether they tell of every row which corpus file it is of."""
        parent = self._parent
        if parent.of_kind(KEYS):
            return parent.cause == SYNC_CAUSE or knows_files(self._folder, parent)
        tasks = key_tasks(parent)
        names, splits = [place.name for place in tasks.ranges], [split_name(parent.number, number) for number in range(len(tasks.splits))]
        if not all(map(self._folder.exists, names)):
            self._step(SPLIT_KEYS, numbered(parent, splits), splits, "key split", parent.number)
            self._step(COLLECT_KEYS, numbered(parent, names), names, "key range", parent.number)
        for name in splits:
            self._folder.remove(name)
        return base_keys(self._folder, parent).files_known

    def _compare(self) -> tuple[tuple[Partition, ...], list[ScanTotals], Totals]:
        parts = self._scan()
        scans = [read_totals(self._folder, scan_name(self._claim.number, part)) for part in parts]
        return parts, scans, self._differ()

    # -- scan

    def _scan(self) -> tuple[Partition, ...]:
        """The partitions that are scanned, as the claim has them."""
        parts = partitions_to_scan(self._config.corpus, self._folder.root, self._plan, self._claim, self._parent)
        self._inline = self._inline and sum(part.text_bytes for part in parts) <= INLINE_BYTES
        number = self._claim.number
        self._step(SCAN, parts, [scan_name(number, part) for part in parts], "partition scan", number)
        self.scanned = parts
        return parts

    def _differ(self) -> Totals:
        found = self._claim.comparison
        if not found.scanned and not found.counts["gone"] and not self._claim.options["complete"]:
            unseen = unseen_in(self._parent)  # files were renamed, and nothing else
            return Totals(self._parent.totals["rows"] - unseen, rows={int(Action.MISSING): unseen})
        tasks = difference_tasks(self._claim)
        names = self._differences()
        self._step(DIFFERENCE, tasks, names, "key range comparison", self._claim.number)
        return Totals.sum([read_difference_totals(self._folder, name) for name in names])

    def _differences(self) -> list[str]:
        """Names of those that stand, in order of their buckets."""
        return [difference_name(self._claim.number, task) for task in difference_tasks(self._claim)]

    def _step(self, kind: str, parts: Sequence[Partition], names: Sequence[str], noun: str, version: int) -> None:
        """Tasks that publish one file each, for a version. names: of the files, in the order of the parts."""
        standing = {name for prefix in {name.rpartition("/")[0] for name in names} for name, _ in self._folder.list(prefix)}
        done = StepLog(step_receipt(part, name) for part, name in zip(parts, names, strict=True) if name in standing)
        if len(list(done.receipts())) < len(parts):
            with self._light_pool(version) as opened:
                self._carry_out(opened, parts, done.receipts, done, kind, noun)

    def _read_imports(self) -> None:
        if self._imports is None:
            return
        parts, number = self._imports.partitions(self._plan), self._claim.number
        self._given = [import_name(number, part) for part in parts]
        self._step(IMPORT, parts, self._given, "import partition", number)

    # -- decide

    def judge(self, scans: Sequence[ScanTotals], totals: Totals) -> None:
        """Everything that is known before an engine works. DataError."""
        names = self._standing_differences()
        corpus, folder = self._config.corpus, self._folder
        quarantine_duplicates(folder, self._claim, names)
        require_no_duplicates(folder, totals, names, corpus)
        require_few_refused(folder, self._claim, scans, totals, corpus.max_quarantined, self._parent.totals["rows"])
        require_few_deletes(folder, self._claim, totals, names, corpus, self._live_before(), self._allow_deletes)

    def _live_before(self) -> tuple[int, str]:
        """What deletes are a share of: how many, and what they are called."""
        return self._parent.totals["rows"], "rows"

    def _standing_differences(self) -> list[str]:
        return [name for name in self._differences() if self._folder.exists(name)]

    def _decide(self, scans: Sequence[ScanTotals]) -> Writes:
        """Which rows are written, and from where each vector comes; as it was decided before, if it was."""
        number = self._claim.number
        if (standing := read_writes(self._folder, number)) is not None:
            return standing
        found = collect(self._folder, self._standing_differences())
        rows = self._settle(found)
        cut = cut_rows(rows, [(scan.rows, scan.text_bytes) for scan in scans], embed_bytes=self._embed_bytes, vector_bytes=bytes_of_vectors(self._plan))
        return create_writes(self._folder, number, rows, cut)

    def _settle(self, found: Candidates) -> Rows:
        """Where the vector of each comes from."""
        wanted = found.wanted
        sources, place_of = find_texts(wanted, self._folder, self._plan, self._parent, self._claim.options["reuse"], self._given)
        return settle(found, wanted, place_of, sources)

    @property
    def _embed_bytes(self) -> int:
        return partition_text_bytes(self._config, self._plan.device_kind)

    # -- embed and copy

    def _write(self, writes: Writes, parts: Sequence[Partition]) -> CommitLog:
        plan = self._version_plan(writes, parts, self._making)
        commits = self._commits_of(self._making, plan)
        self._embed(plan.partitions[: writes.embedded], commits, Making(self._claim.number, with_engine=True))
        if self._imports is not None:
            made = made_below(self._making, commits.columns(RECEIPT_COLUMNS), writes.embedded)
            self._imported = self._imports.judge(self._folder, writes, self._given, made, self._plan)
        self._copy(plan.partitions[writes.embedded :], commits)
        return commits

    def _commits_of(self, making: VersionFolder, plan: Plan) -> CommitLog:
        """As they stand, of shards that a killed sync has published too."""
        assert self._lease is not None
        commits = CommitLog(making, self._lease.token)
        self._lease.fence(commits)
        reconcile(making, plan, commits)
        return commits

    def _embed(self, partitions: Sequence[Partition], commits: CommitLog, making: Making) -> None:
        if self._is_left(partitions, commits):
            with open_pool(self._config, self._folder, self._plan, making) as opened:
                self._carry_out(opened, partitions, commits.receipts, commits, EMBED, "partition")

    def _copy(self, partitions: Sequence[Partition], commits: CommitLog) -> None:
        if self._is_left(partitions, commits):
            with self._light_pool(self._claim.number) as opened:
                self._carry_out(opened, partitions, commits.receipts, commits, COPY, "copied partition")

    def _version_plan(self, writes: Writes, parts: Sequence[Partition], making: VersionFolder) -> Plan:
        """Of what is written there; it stands by now, or is written down."""
        with contextlib.suppress(AlreadyExists):
            write_plan(making, self._plan_of_version(partitions_of(writes, parts), texts=making is not self._making))
        standing = read_plan(making)
        assert standing is not None
        return standing

    def _plan_of_version(self, partitions: tuple[Partition, ...], *, texts: bool) -> Plan:
        """texts: of those that are embedded apart (chunk_stages.py)."""
        return replace(
            self._plan,
            partitions=partitions,
            schema=shard_schema(self._plan.rows, self._plan.stored),
            listing=(),
            superseded=(),
            holds_input_digests=True,
            tells_versions=True,
            version=self._claim.number,
        )

    @staticmethod
    def _is_left(partitions: Sequence[Partition], commits: CommitLog) -> bool:
        ends = commits.columns(["partition", "last"])
        done = {*ends.filter(ends.column("last")).column("partition").to_pylist()}
        return any(partition.number not in done for partition in partitions)

    def _carry_out(
        self, opened: OpenPool, partitions: Sequence[Partition], receipts: Callable[[], Iterable[Receipt]], log_: Log, kind: str, noun: str
    ) -> None:
        mine = {partition.number for partition in partitions}

        def committed() -> Iterator[Receipt]:
            return (receipt for receipt in receipts() if receipt.partition in mine)

        workers = opened.begin_with(len(partitions))
        self._ledger.publish_if_due(time.monotonic())
        nodes = Nodes()
        heard, _ = await_first(opened.pool, workers, self._stop, nodes)
        stage = Stage(
            self._config, self._folder, partitions, committed, log_, opened, workers, opened.placement.device,
            self._display() if kind in (EMBED, COPY) else Silent(), self._stop, lease=self._lease, kind=kind, heard=heard, nodes=nodes, noun=noun,
            refuse=(lambda ready: why_not(self._plan, ready)) if kind == EMBED else (lambda ready: None),
            ledger=self._ledger if kind in (EMBED, COPY) else Ledger(""),
            version=self._claim.number if kind in (EMBED, COPY) else 1, unit=units(self._plan.rows.is_chunked)[1],
        )  # fmt: skip
        carry_out(stage, StageReport())

    @contextlib.contextmanager
    def _light_pool(self, version: int) -> Iterator[OpenPool]:
        """Workers without an engine, for tasks of a version: this process where there is little to do, else as many as `workers` says."""
        making = Making(version, with_engine=False)
        placement = Placement("cpu", 1, 1)
        if self._lease is None:
            steps = Steps(self._config, self._folder, version, {}, (str(Path.cwd()),))
            yield OpenPool(InlinePool(lambda: steps), placement)
            return
        if self._inline:
            job = worker_job(self._config, placement, None, making=making)
            yield OpenPool(InlinePool(lambda: Worker(job)), placement)
            return
        config = self._config.model_copy(update={"workers": light_workers(self._config.workers, self._plan.device_kind)})
        with open_pool(config, self._folder, None, making) as opened:
            yield opened

    # -- commit

    def _commit(self, scans: Sequence[ScanTotals], totals: Totals, writes: Writes, commits: CommitLog, listed_s: float) -> SyncSummary:
        made, parent = self._claim, self._parent
        receipts = commits.columns(RECEIPT_COLUMNS)
        plan = read_plan(self._making)
        assert plan is not None
        refused = refused_by_file(self._making, receipts)
        require_some_row(self._folder, self._making, parent, scans, totals, sum(refused.values()), receipts)
        files = tuple(inputs_after(made, scans, totals, refused))
        added = self._add_up(plan, receipts, totals)
        stale = stale_now(self._folder, made, parent, self._standing_differences())
        rows = count_rows(made, scans, totals, writes, added, sum(refused.values()), self._all(receipts), files, stale)
        counts = self._counts(rows, added) | {"empty_texts": count_empty(self._folder, self._standing_differences())}
        listing = {INPUTS: write_table(self._folder, f"{SYNC}/{INPUTS}", to_table(files)), LISTED: listed_s, NEXT_FILE: made.next_file}
        listing |= standing_now(counts, stale)
        details = listing | {"counts": counts, "files": made.comparison.counts} | ({} if self._imported is None else {IMPORTED: self._imported})
        found = made.comparison.counts | {"scanned": len(made.comparison.scanned)}
        assert self._lease is not None
        self._lease.require_held()
        if self._imported is None and not is_worth_a_version(self._folder, made, parent, added, files, counts):
            pass_over(self._folder, made, listing)
            return replace(SyncSummary("nothing", self._folder.root, parent.number, parent.parent, files=found, rows=added.rows), **counts)
        version = commit_version(self._folder, Contents(made.number, parent.number, "sync", added.totals, (*parent.files, *added.files), details))
        clear_steps(self._folder, version.number)
        complete_version(self._folder, version)
        summary = SyncSummary("committed", self._folder.root, version.number, parent.number, files=found, rows=added.rows, imported=self._imported)
        return replace(summary, **counts)

    def _add_up(self, plan: Plan, receipts: pa.Table, totals: Totals) -> Added:
        """plan: of the version."""
        return add_up(self._folder, self._claim, self._parent, self._plan, self._making, plan, receipts, totals)

    def _all(self, receipts: pa.Table) -> pa.Table:
        """With those of what was embedded apart."""
        return receipts

    def _counts(self, rows: dict[str, Any], added: Added) -> dict[str, Any]:
        """What is told. rows: as count_rows has them."""
        return rows
