"""One stage of a job under the driver: partitions of one kind of task, from the first to the last, on a pool that is open."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from embermill.counts import several
from embermill.jobs.config import JobConfig
from embermill.jobs.dataset.metadata.lease import Lease
from embermill.jobs.driver.commit_buffer import CommitBuffer, Log
from embermill.jobs.driver.display import Display
from embermill.jobs.driver.events import EventsFile
from embermill.jobs.driver.heartbeat import Heartbeat
from embermill.jobs.driver.loop import drive
from embermill.jobs.driver.outcome import failures_as_error
from embermill.jobs.driver.progress import Meter
from embermill.jobs.driver.run_record import RunRecord
from embermill.jobs.driver.scheduler import Scheduler
from embermill.jobs.driver.signs_of_life import SignsOfLife
from embermill.jobs.driver.snapshot import Snapshot
from embermill.jobs.driver.standing_still import against_losses, against_standing_still
from embermill.jobs.driver.start_steps import LAST, StartSteps
from embermill.jobs.metrics.ledger import Ledger
from embermill.jobs.partition import Partition
from embermill.jobs.pool.base import Died
from embermill.jobs.pool.nodes import Nodes
from embermill.jobs.pool.opening import Heard, OpenPool
from embermill.jobs.process.device_tuning import DEVICE_TUNING
from embermill.jobs.receipt import COPY, EMBED, Event, Ready, Receipt, Shard
from embermill.jobs.storage import Folder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """What is to be done, and with what. committed: what is in the log already. folder: the dataset's, for its heartbeat.

    starting: workers on their way. heard: what they have said. refuse: why a worker must not work, or None.
    version: that is made. ledger: what monitoring systems are told. steps: takes down how long the start takes.
    noun, unit, on: for the log: what a partition is called here, and a row of it, and on what it is worked.
    """

    config: JobConfig
    folder: Folder
    partitions: Sequence[Partition]
    committed: Callable[[], Iterable[Shard | Receipt]]
    log: Log
    opened: OpenPool
    starting: int
    device_kind: str
    display: Display
    stop: threading.Event
    lease: Lease | None = None
    kind: str = EMBED
    heard: Heard = field(default_factory=list)
    nodes: Nodes = field(default_factory=Nodes)
    refuse: Callable[[Ready], str | None] = lambda ready: None
    events: EventsFile | None = None
    noun: str = "partition"
    unit: str = "row"
    on: str = ""
    ledger: Ledger = field(default_factory=lambda: Ledger(""))
    steps: StartSteps | None = None
    version: int = 1


@dataclass
class StageReport:
    """How it went. seconds_embedding: from the first row that was read to the last commit."""

    seconds_embedding: float = 0.0
    stage_shares: dict[str, float] | None = None
    bound: str = ""
    workers: int = 0


def carry_out(stage: Stage, report: StageReport) -> None:
    """Until nothing is left to do. Raises what could not be done; report says how it went, however it ends."""
    died = sum(isinstance(event, Died) for _, event in stage.heard)
    meter = Meter(stage.partitions, stage.committed(), unit=stage.unit, copies=stage.kind == COPY)
    ledger = stage.ledger

    def committed(receipt: Receipt) -> None:
        meter.committed(receipt)
        ledger.committed(receipt)
        if stage.steps is not None:
            stage.steps.done(LAST)

    commit_buffer = CommitBuffer(stage.log, events=stage.events, told=committed)
    driver = Scheduler(
        stage.partitions,
        stage.committed(),
        workers=max(stage.starting, stage.opened.placement.count),  # more than there are partitions where one of them is to be looked at twice
        starting=stage.starting,
        queued=DEVICE_TUNING[stage.device_kind].queued_per_worker,
        stall_s=stage.config.workers.partition_stall_s,
        when_still=against_standing_still(stage.config),
        when_lost=against_losses(stage.config),
        refuse=stage.refuse,
        nodes=stage.nodes,
        kind=stage.kind,
        most=stage.opened.placement.most,
    )
    signs = SignsOfLife()
    heartbeat = Heartbeat(stage.folder, meter, signs, lambda: commit_buffer.last_commit_s)

    record = None
    if stage.kind in (EMBED, COPY):
        about = {"kind": stage.kind, "device": stage.on or stage.device_kind}
        record = RunRecord(stage.folder, time.monotonic(), version=stage.version, start=stage.steps.seconds if stage.steps is not None else list, **about)

    def heard(worker: int, event: Event | Died) -> None:
        ledger.heard(event)
        if stage.steps is not None:
            stage.steps.heard(event)
        if record is not None:
            record.heard(worker, event, time.monotonic())

    def tick(now_s: float) -> None:
        if stage.lease is not None:
            stage.lease.require_not_lost()
        snapshot = meter.snapshot(now_s)
        stage.display.show(snapshot, now_s)
        heartbeat.beat_if_due(now_s)
        _look(ledger, driver, snapshot, commit_buffer)
        ledger.publish_if_due(now_s)
        if record is not None:
            record.look(snapshot, now_s)

    where = several(stage.starting - died, "worker")
    log.info("%s on %s (%s)", several(len(driver.remaining), stage.noun), where, stage.on or stage.device_kind)
    try:
        with stage.display:
            failures = drive(
                driver, stage.opened.pool, commit_buffer, meter, signs=signs, heard=stage.heard, tick=tick, stop=stage.stop, listen=heard
            )
    finally:
        embedding_s = (commit_buffer.last_commit_s or 0.0) - (meter.began_s or 0.0)
        report.seconds_embedding, report.stage_shares, report.bound = max(embedding_s, 0.0), meter.stage_shares, meter.bound
        report.workers = stage.starting
        heartbeat.beat(time.monotonic(), state="ended")
        last = meter.snapshot(time.monotonic())
        _look(ledger, driver, last, commit_buffer)
        ledger.publish()
        if record is not None:
            record.end(last, time.monotonic(), report.seconds_embedding)
    if failures:
        raise failures_as_error(failures)


def _look(ledger: Ledger, driver: Scheduler, snapshot: Snapshot, commit_buffer: CommitBuffer) -> None:
    """What the driver has in hand now."""
    left = len(driver.remaining)
    ledger.look(
        done=snapshot.partitions - left, assigned=driver.assigned, waiting=left - driver.assigned, queued=driver.queued_on_workers,
        uncommitted=commit_buffer.waiting, workers=snapshot.workers, bound=snapshot.bound,
    )  # fmt: skip
