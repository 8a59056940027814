"""`status`: how far a dataset is, from its plan, its inventory and its heartbeat. Reads no shard and writes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from embermill.jobs.bookkeeping import expected_form
from embermill.jobs.dataset.metadata.inventory import read_inventory
from embermill.jobs.dataset.metadata.liveness import is_gone
from embermill.jobs.dataset.metadata.manifest import length_percentiles, named_files
from embermill.jobs.dataset.metadata.receipt_table import Totals, sum_lengths, sum_receipts
from embermill.jobs.dataset.metadata.standing import standing_of
from embermill.jobs.dataset.metadata.versions import FIRST, is_worth_compacting, live_documents, read_version, read_versions
from embermill.jobs.dataset.metadata.why_empty import why_empty
from embermill.jobs.dataset.metadata.why_unfinished import exceeds, planned_limit
from embermill.jobs.dataset.views.findings import FINDINGS
from embermill.jobs.difference.seen import read_seen
from embermill.jobs.plan.files import Plan
from embermill.jobs.storage import Folder

HEARTBEAT = "_embermill/heartbeat.json"
MAX_LISTED = 20  # of the files that are missing
SIGNS = {
    "worker": expected_form.number, "where": expected_form.text, "silent_s": expected_form.seconds,
    "partition": expected_form.or_none(expected_form.number), "progress_age_s": expected_form.or_none(expected_form.seconds),
}  # fmt: skip
BEAT = {
    "host?": expected_form.text, "tokens_per_s?": expected_form.seconds, "eta_s?": expected_form.or_none(expected_form.seconds),
    "commit_age_s?": expected_form.or_none(expected_form.seconds), "signs_of_life?": [SIGNS],
}  # fmt: skip
SILENT_AFTER_S = 30.0  # a run beats every few seconds


@dataclass(frozen=True)
class Status:
    """state: "planned" (nothing committed), "running" (a run beats), "unfinished" (none does; run again to go on), "finished" (the manifest is there).

    totals: of what is committed. text_bytes, text_bytes_left: what the partitions were packed by. token_lengths: percentiles in tokens.
    too_many_quarantined: all is read, and the next run will not finish it, unless corpus.max_quarantined is raised or rows are redriven; where no row at all
    was embedded, only redriving helps.
    findings: of a finished dataset, what its last run found (dataset.findings). missing: shards and quarantine files that are not there as published.
    version: the newest committed one, of `versions`; rows: its live ones; version_cause, version_age_s: what made it and how long ago.
    chunked: its rows are chunks of documents, and rows_quarantined counts documents; live_documents: of a finished one.
    standing: where it is not as the corpus is: rows unseen, stale, refused (metadata/standing.py).
    version_counts: of one that `sync` made, rows by what became of them (sync_summary.py).
    corpus: how it differed from the newest version when that was last looked at (sync/seen.py). empty: why no row is live, where that is known.
    heartbeat: what the last run said of itself, of no authority; heartbeat_age_s: how long ago, None where it cannot be told.
    """

    root: str
    state: str
    manifest: str | None
    partitions: int
    partitions_done: int
    files: int
    text_bytes: int
    text_bytes_left: int
    totals: Totals
    token_lengths: dict[str, int]
    fingerprint: dict[str, str]
    device_kind: str
    precision: str
    id_stability: str
    heartbeat: dict[str, Any] | None
    heartbeat_age_s: float | None
    findings: dict[str, Any] | None
    too_many_quarantined: bool
    missing_files: int
    missing: list[str]
    version: int | None
    versions: int
    rows: int | None
    version_cause: str | None
    version_age_s: float | None
    compact_advised: bool
    version_counts: dict[str, Any] | None = None
    standing: dict[str, int] | None = None
    live_documents: int | None = None
    chunked: bool = False
    corpus: dict[str, Any] | None = None
    empty: str | None = None

    def to_json(self) -> dict[str, Any]:
        fields = {name: value for name, value in asdict(self).items() if name != "totals"}
        return fields | self.totals.to_json() | {"finished": self.manifest is not None}


def status(folder: Folder, now: datetime | None = None) -> Status:
    """Raises what read_inventory raises. now: with time zone; the clock's where None."""
    found = read_inventory(folder)
    plan, manifest, table = found.plan, found.manifest, found.receipts
    left = found.unfinished
    heartbeat, age_s = _read_heartbeat(folder, now)
    versions = [] if manifest is None else [each for each in read_versions(folder, files=False) if each.is_committed]
    newest = read_version(folder) if versions else None
    missing = [*_missing(folder, named_files(table) if newest is None or newest.number == FIRST else {file.name: file.bytes for file in newest.files})]
    return Status(
        root=folder.root,
        state=_state(manifest is not None, table.num_rows, heartbeat, age_s),
        manifest=None if manifest is None else manifest.name,
        partitions=len(plan.current),
        partitions_done=len(plan.current) - len(left),
        files=len(plan.listing),
        text_bytes=plan.text_bytes(),
        text_bytes_left=plan.text_bytes(left),
        totals=sum_receipts(table),
        token_lengths=length_percentiles(sum_lengths(table)),
        fingerprint=plan.fingerprint,
        device_kind=plan.device_kind,
        precision=plan.precision,
        id_stability=plan.id_stability,
        heartbeat=heartbeat,
        heartbeat_age_s=age_s,
        findings=None if manifest is None else manifest.root.get(FINDINGS),
        too_many_quarantined=manifest is None and not len(left) and _too_many_quarantined(plan, sum_receipts(table)),
        missing_files=len(missing),
        missing=missing[:MAX_LISTED],
        version=None if newest is None else newest.number,
        versions=len(versions),
        rows=None if newest is None else newest.totals["rows"],
        version_cause=None if newest is None else newest.cause,
        version_age_s=None if newest is None else _age_s({"time": newest.created}, now or datetime.now(UTC)),
        compact_advised=newest is not None and is_worth_compacting(newest),
        version_counts=None if newest is None else newest.details.get("counts"),
        standing=None if newest is None else standing_of(newest),
        live_documents=live_documents(folder, newest) if newest is not None and plan.rows.is_chunked else None,
        chunked=plan.rows.is_chunked,
        corpus=None if manifest is None else read_seen(folder),
        empty=None if newest is None else why_empty(folder, newest),
    )


def _too_many_quarantined(plan: Plan, totals: Totals) -> bool:
    """By the limit that the dataset was planned with; a run may set another one."""
    return totals.all_quarantined or exceeds(totals, planned_limit(plan))


def _missing(folder: Folder, named: dict[str, int]) -> Iterator[str]:
    """Files that should be there and are not, or have another size: their names and sizes are listed, none is read."""
    standing = {name: info.size for prefix in {name.partition("/")[0] for name in named} for name, info in folder.list(prefix)}
    return (name for name, size in named.items() if standing.get(name) != size)


def _state(finished: bool, receipts: int, heartbeat: dict[str, Any] | None, age_s: float | None) -> str:
    if finished:
        return "finished"
    if _runs(heartbeat, age_s):
        return "running"
    return "unfinished" if receipts else "planned"


def _runs(heartbeat: dict[str, Any] | None, age_s: float | None) -> bool:
    """As far as can be told from here."""
    return heartbeat is not None and heartbeat.get("state") == "running" and age_s is not None and age_s < SILENT_AFTER_S and not is_gone(heartbeat)


def _read_heartbeat(folder: Folder, now: datetime | None) -> tuple[dict[str, Any] | None, float | None]:
    """The heartbeat, None where there is none that can be read; its age in seconds, None where that cannot be told."""
    try:
        heartbeat = json.loads(folder.read(HEARTBEAT))
        expected_form.require_form(heartbeat, BEAT)
    except (FileNotFoundError, ValueError, RecursionError):
        return None, None
    return heartbeat, _age_s(heartbeat, now or datetime.now(UTC))


def _age_s(heartbeat: dict[str, Any], now: datetime) -> float | None:
    try:
        return max(0.0, (now - datetime.fromisoformat(heartbeat["time"])).total_seconds())
    except (KeyError, TypeError, ValueError):
        return None
