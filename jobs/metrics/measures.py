"""Every measure of a job: name, kind, help and labels. A dataset's label is on each of them.

Ray's exporter puts `ray_` before the names; the text file does not. A query for both is `{__name__=~"(ray_)?embermill_tokens_total"}`.
Totals are the dataset's, what earlier runs committed included, and count what is committed: a row is in them once, whatever was repeated.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """kind: "counter" or "gauge". labels: beside `dataset`."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """One value. labels: in the order of the measure's."""

    measure: Measure
    value: float
    labels: tuple[str, ...] = ()


PREFIX = "embermill_"
DOCUMENTS = Measure("embermill_documents_total", "counter", "Documents with a committed vector")
TOKENS = Measure("embermill_tokens_total", "counter", "Tokens of the committed documents")
TOKENS_DROPPED = Measure("embermill_tokens_dropped_total", "counter", "Tokens cut off from committed documents that are too long for the model")
ROWS_QUARANTINED = Measure("embermill_rows_quarantined_total", "counter", "Rows that were refused, each with its reason in quarantine/")
STAGE_SECONDS = Measure("embermill_stage_seconds_total", "counter", "Seconds that workers of this run were busy with a stage", ("stage",))
RETRIES = Measure("embermill_retries_total", "counter", "Failed attempts at a partition and lost workers in this run, by kind", ("kind",))
PARTITIONS = Measure("embermill_partitions", "gauge", "Partitions by state: waiting, assigned to a worker, done", ("state",))
QUEUE_DEPTH = Measure("embermill_queue_depth", "gauge", "Partitions queued on workers, and receipts that wait for their commit", ("queue",))
WORKERS = Measure("embermill_workers", "gauge", "Workers that are ready")
BOUND = Measure("embermill_bound", "gauge", "1 for the stage that is busiest and so limits the speed, 0 for the others", ("stage",))
PROGRESS_TIME = Measure("embermill_last_progress_timestamp_seconds", "gauge", "Unix time at which a worker last reported progress or a shard was committed")
RUNNING = Measure("embermill_running", "gauge", "1 while a driver works on the dataset, 0 once it has ended")
VERSION = Measure("embermill_dataset_version", "gauge", "Number of the dataset's newest committed version")
VERSION_TIME = Measure("embermill_dataset_version_timestamp_seconds", "gauge", "Unix time at which the newest committed version was made")

MEASURES = (
    DOCUMENTS, TOKENS, TOKENS_DROPPED, ROWS_QUARANTINED, STAGE_SECONDS, RETRIES, PARTITIONS, QUEUE_DEPTH, WORKERS, BOUND, PROGRESS_TIME, RUNNING,
    VERSION, VERSION_TIME,
)  # fmt: skip
