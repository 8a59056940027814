"""How a dataset was made: its runs, speed over time, stages and their bottleneck, what each device and worker did, and what that cost."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pyarrow as pa

from embermill.jobs.dataset.metadata.run_records import SAMPLE
from embermill.jobs.receipt import shares_of

Record = dict[str, Any]
ROUND = 3
MOST_POINTS = 100  # of a run
UNKNOWN = "not recorded"  # of shards that were adopted: who made them was killed before it could say


def describe_run(record: Record) -> Record:
    """One record, less its samples. tokens_per_s: over seconds_embedding, or what there was of it. worker_hours: of workers that were ready."""
    seconds = record["seconds_embedding"] or record["seconds"]
    shares = {stage: round(share, 4) for stage, share in shares_of(record["stage_seconds"]).items()}
    told = {key: record[key] for key in ("began", "kind", "version", "ended", "device", "seconds", "rows", "tokens", "stage_seconds", "bound", "retries")}
    speeds = {f"{what}_per_s": round(record[what] / seconds, 1) if seconds else 0.0 for what in ("rows", "tokens")}
    told["start"] = record.get("start", [])  # an earlier embermill took none down
    return told | speeds | {"stage_shares": shares, "workers": _with_shares(record["workers"]), "worker_hours": round(worker_hours(record), 6)}


def _with_shares(workers: list[Record]) -> list[Record]:
    total = sum(worker["tokens"] for worker in workers)
    return [worker | {"share": round(worker["tokens"] / total, 4) if total else 0.0} for worker in workers]


def worker_hours(record: Record) -> float:
    """Workers that were ready, over time: each interval counts as it ended."""
    samples = [dict(zip(SAMPLE, sample, strict=True)) for sample in record["samples"]]
    seconds = sum((after["seconds"] - before["seconds"]) * max(before["workers"], after["workers"]) for before, after in pairwise(samples))
    return float(seconds) / 3600


def speed_over_time(records: list[Record]) -> list[Record]:
    """Speed from one report of the workers to the next, one run after another; seconds are those at work.

    A batch is told of when it is done: the time since the one before belongs to it, so that slow batches are not drawn as pauses and bursts.
    """
    points, offset = list[Record](), 0.0
    for number, record in enumerate(records):
        samples = [dict(zip(SAMPLE, sample, strict=True)) for sample in record["samples"]]
        moved = [samples[0], *(after for before, after in pairwise(samples) if after["rows"] > before["rows"])] if samples else []
        step = -(-len(moved) // MOST_POINTS) or 1
        for before, after in pairwise([*moved[:-1:step], *moved[-1:]]):
            if (seconds := after["seconds"] - before["seconds"]) > 0:
                speeds = {f"{what}_per_s": round((after[what] - before[what]) / seconds, 1) for what in ("rows", "tokens")}
                place = {"from_s": round(offset + before["seconds"], ROUND), "to_s": round(offset + after["seconds"], ROUND)}
                points.append({"run": number + 1, "workers": after["workers"]} | place | speeds)
        offset += record["seconds"]
    return points


def device_shares(receipts: pa.Table) -> list[Record]:
    """What each device computed of the shards that the run committed: they add up to the run's totals."""
    found: dict[tuple[str, str], Record] = {}
    columns = (receipts.column(name).to_pylist() for name in ("provenance", "documents", "tokens", "shard"))
    for provenance, documents, tokens, shard in zip(*columns, strict=True):
        told = dict(provenance)
        host = told.get("worker", "").rpartition(":")[0]
        key = (told.get("device", UNKNOWN), host)
        entry = found.setdefault(key, {"device": key[0], "host": host, "processes": set(), "shards": 0, "documents": 0, "tokens": 0})
        entry["processes"].add(told.get("worker", ""))
        entry["shards"] += shard is not None
        entry["documents"] += documents
        entry["tokens"] += tokens
    total = sum(entry["tokens"] for entry in found.values())
    ordered = sorted(found.values(), key=lambda entry: (-entry["tokens"], entry["device"], entry["host"]))
    return [entry | {"processes": len(entry["processes"]), "share": round(entry["tokens"] / total, 4) if total else 0.0} for entry in ordered]


def cost(runs: list[Record], price_per_hour: float | None) -> Record | None:
    """price_per_hour: of one worker, in whatever currency. None without one, or without records."""
    hours, rows = sum(run["worker_hours"] for run in runs), sum(run["rows"] for run in runs if run["kind"] == "embed")
    if price_per_hour is None or not runs:
        return None
    paid = hours * price_per_hour
    per_million = round(paid / rows * 1e6, 4) if rows else None
    return {"price_per_worker_hour": price_per_hour, "worker_hours": round(hours, 4), "paid": round(paid, 4), "per_million_rows": per_million}
