"""Every figure of a report, read from the dataset as it stands: a JSON object, which `--json` prints and the page shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from embermill.credentials import without_credentials
from embermill.jobs.dataset.metadata.inventory import Inventory, read_inventory
from embermill.jobs.dataset.metadata.manifest import length_percentiles
from embermill.jobs.dataset.metadata.receipt_table import sum_receipts
from embermill.jobs.dataset.metadata.run_records import read_records
from embermill.jobs.dataset.metadata.versions import live_documents, read_version
from embermill.jobs.dataset.views.history import history
from embermill.jobs.receipt import EMBED
from embermill.jobs.report.refused import describe_refused
from embermill.jobs.report.rows import measure_lengths, row_files, sample_rows
from embermill.jobs.report.sample_map import draw_map
from embermill.jobs.report.speed import cost, describe_run, device_shares, speed_over_time
from embermill.jobs.storage import Folder, open_folder

MAPPED_ROWS = 800
SEED = 0
MOST_DRAWN = 12  # runs in the chart of speed, the newest ones


@dataclass(frozen=True)
class Options:
    """price_per_hour: of one worker. mapped_rows: on the map, 0 for none. seed: of the sample."""

    price_per_hour: float | None = None
    mapped_rows: int = MAPPED_ROWS
    seed: int = SEED


def account_for(uri: str, options: Options = Options()) -> dict[str, Any]:
    """The dataset at a local path or URL, finished or not. Raises what read_inventory raises, DataError where a file of rows is gone or damaged."""
    folder = open_folder(uri)
    found = read_inventory(folder)
    files = row_files(folder, found)
    lengths = measure_lengths(folder, found, files)
    records = read_records(folder)
    runs = [describe_run(record) for record in records]
    drawn = [record for record in records if record["kind"] == EMBED and record["rows"]][-MOST_DRAWN:]
    sample = sample_rows(folder, found, files, options.mapped_rows, options.seed) if options.mapped_rows else None
    return {
        "output": folder.root,
        "embermill": version("embermill"),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "finished": found.manifest is not None,
        "unfinished": found.why_unfinished(folder) if found.manifest is None else None,
        "model": _describe_model(found),
        "run": sum_receipts(found.receipts).to_json(),
        "documents": _documents(folder, found),
        "rows": lengths.rows,
        "tokens": lengths.tokens,
        "tokens_dropped": lengths.tokens_dropped,
        "rows_truncated": lengths.rows_truncated,
        "token_lengths": length_percentiles(lengths.histogram),
        "lengths": [[*bucket] for bucket in lengths.histogram],
        "refused": describe_refused(folder, found),
        "versions": history(folder) if found.manifest is not None else [],
        "devices": device_shares(found.receipts),
        "runs": runs,
        "speed": speed_over_time(drawn),
        "cost": cost(runs, options.price_per_hour),
        "map": None if sample is None else draw_map(sample, options.seed),
    }


def _documents(folder: Folder, found: Inventory) -> int | None:
    """Live ones, of a dataset of chunks, whose rows are chunks; of one that is not finished, what is committed."""
    if not found.plan.rows.is_chunked:
        return None
    return live_documents(folder, read_version(folder)) if found.manifest is not None else sum_receipts(found.receipts).documents


def _describe_model(found: Inventory) -> dict[str, Any]:
    plan = found.plan
    return {
        "source": without_credentials(str(plan.config.get("model.source") or plan.config.get("model.engine"))),
        "device": plan.device_kind,
        "precision": plan.precision,
        "max_tokens": int(limit) if (limit := plan.fingerprint.get("model.max_tokens", "")).isdecimal() else None,
        "vectors": [{"column": stored.column, "dim": stored.dim, "dtype": stored.dtype} for stored in plan.stored],
        "files": len(plan.listing),
    }
