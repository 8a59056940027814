"""Receipts on their way into the commit log: in batches every few seconds, and then told to whoever follows the job."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from embermill.jobs.dataset.commits import CommitLog
from embermill.jobs.errors import UsageError
from embermill.jobs.receipt import Receipt

FLUSH_EVERY_S = 2.0
FLUSH_RECEIPTS = 1000


class Ledger:
    """The driver's hand on the commit log. events_file: one JSON line for each shard, once it is committed. told: the same, as a call."""

    def __init__(self, log: CommitLog, *, events_file: Path | None = None, told: Callable[[Receipt], None] = lambda receipt: None) -> None:
        self.log, self._told = log, told
        self._waiting: list[Receipt] = []
        self._flushed_s: float | None = None
        self.last_commit_s: float | None = None
        self._events_file = events_file

    def commit(self, receipt: Receipt) -> None:
        self._waiting.append(receipt)

    def flush_if_due(self, now_s: float) -> None:
        """Once every few seconds, the very first at once: a kill then costs little."""
        if self._waiting and (self._flushed_s is None or now_s - self._flushed_s >= FLUSH_EVERY_S or len(self._waiting) >= FLUSH_RECEIPTS):
            self.flush(now_s)

    def flush(self, now_s: float) -> None:
        if not self._waiting:
            return
        new = self.log.append(self._waiting)
        self._waiting = []
        self._flushed_s = self.last_commit_s = now_s
        for receipt in new:
            self._told(receipt)
        self._write_events(new)

    def _write_events(self, receipts: list[Receipt]) -> None:
        if self._events_file is None:
            return
        try:
            with self._events_file.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(describe_commit(receipt)) + "\n" for receipt in receipts)
        except OSError as error:
            advice = "make room there or name another file, and run again to go on from what is committed"
            raise UsageError(f"--events {self._events_file}: cannot be written: {error.strerror or error}: {advice}") from error


def describe_commit(receipt: Receipt) -> dict[str, object]:
    """What --events says of one committed shard."""
    fields = ("partition", "ordinal", "shard", "quarantine", "rows_in", "rows_out", "rows_quarantined", "tokens", "tokens_dropped", "shard_bytes", "adopted")
    return {"event": "committed", "time": datetime.now(UTC).isoformat(timespec="milliseconds")} | {name: getattr(receipt, name) for name in fields}


def require_events_file(path: Path) -> None:
    """Make it where there is none. UsageError where it cannot be written."""
    try:
        path.open("a").close()
    except OSError as error:
        raise UsageError(f"--events {path}: cannot be written: {error.strerror}: name a file in a folder that is there") from None
