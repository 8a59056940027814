"""heartbeat.json: how far a run is, for `status`; rewritten every few seconds, of no authority."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from embermill.jobs.dataset.metadata.liveness import this_process
from embermill.jobs.driver.progress import Meter
from embermill.jobs.driver.signs_of_life import SignsOfLife
from embermill.jobs.storage import Folder

log = logging.getLogger(__name__)

HEARTBEAT = "_embermill/heartbeat.json"
BEAT_EVERY_S = 5.0


class Heartbeat:
    """Of one run. A beat that cannot be written is a beat less, nothing more. last_commit_s: when the last one was, on the clock that `beat` is told."""

    def __init__(self, folder: Folder, meter: Meter, signs: SignsOfLife, last_commit_s: Callable[[], float | None]) -> None:
        self._folder, self._meter, self._signs, self._last_commit_s = folder, meter, signs, last_commit_s
        self._run_id = uuid.uuid4().hex
        self._last_s: float | None = None

    def beat_if_due(self, now_s: float) -> None:
        if self._last_s is None or now_s - self._last_s >= BEAT_EVERY_S:
            self.beat(now_s)

    def beat(self, now_s: float, state: str = "running") -> None:
        """state: "running", or "ended", however it did."""
        self._last_s = now_s
        committed_s = self._last_commit_s()
        about = {"state": state, "run": self._run_id, "time": datetime.now(UTC).isoformat(timespec="seconds")} | this_process()
        about |= {"commit_age_s": None if committed_s is None else round(now_s - committed_s, 1), "signs_of_life": self._signs.describe(now_s)}
        try:
            self._folder.replace(HEARTBEAT, json.dumps(about | self._meter.snapshot(now_s).to_json()).encode())
        except Exception as error:  # storage in trouble is found out by those who must write
            log.debug("no heartbeat: %s", error)
