"""What each run did, beside what it made: `_embermill/runs/TIME-ID.json`, for `embermill report`. Of no authority: a run that was killed leaves what it last
wrote, a dataset of an earlier embermill has none, and nothing but the report reads them.

    20261128T162345Z-3f9c01ab.json     one stage of one run: speed over time, seconds by stage, what each worker did (driver/run_record.py writes it)
"""

from __future__ import annotations

import logging
import re
from typing import Any

from embermill.jobs.bookkeeping.expected_form import flag, number, require_form, seconds, text
from embermill.jobs.bookkeeping.seal import read_json, sealed_json
from embermill.jobs.errors import JobError
from embermill.jobs.storage import Folder

log = logging.getLogger(__name__)

RUNS = "_embermill/runs"
MOST_READ = 200  # the newest ones
_NAME = re.compile(rf"{RUNS}/\d{{8}}T\d{{6}}Z-[0-9a-f]{{8}}\.json")
_WORKER = {
    "worker": number, "host": text, "device": text, "device_uuid": text, "threads": number, "rows": number, "tokens": number, "from_s": seconds,
    "to_s": seconds,
}  # fmt: skip
_FORM = {
    "run": text, "ended": flag, "kind": text, "version": number, "began": text, "seconds": seconds, "device": text, "rows": number, "tokens": number,
    "seconds_embedding": seconds, "stage_seconds": {"": seconds}, "bound": text, "retries": {"": number}, "workers": [_WORKER], "samples": [[seconds]],
    "start?": [{"step": text, "seconds": seconds, "at_s": seconds}],
}  # fmt: skip


def record_name(began: str, run: str) -> str:
    """began: UTC, as 20261128T162345Z. run: its id, in hexadecimal digits."""
    return f"{RUNS}/{began}-{run[:8]}.json"


def write_record(folder: Folder, name: str, record: dict[str, Any]) -> None:
    """Best effort: storage in trouble is found out by those who must write."""
    try:
        folder.replace(name, sealed_json(record))
    except Exception as error:
        log.debug("no record of this run: %s", error)


def read_records(folder: Folder) -> list[dict[str, Any]]:
    """The newest ones, oldest first. One that is damaged is left out, and logged."""
    found = []
    for name in sorted(name for name, _ in folder.list(RUNS) if _NAME.fullmatch(name))[-MOST_READ:]:
        try:
            record = read_json(folder.read(name), frozenset())
            require_form(record, _FORM)
            if any(len(sample) != len(SAMPLE) for sample in record["samples"]):
                raise ValueError(f"a sample has other values than {', '.join(SAMPLE)}")
            found.append(record)
        except (ValueError, KeyError, TypeError, RecursionError, FileNotFoundError, JobError) as error:
            log.warning("%s/%s is left out of the report: %s", folder.root, name, error)
    return found


SAMPLE = ("seconds", "rows", "tokens", "workers")
"""What a sample of a record holds: seconds since it began, rows and tokens embedded by then, workers that were ready."""
