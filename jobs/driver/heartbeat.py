"""heartbeat.json: how far a run is, for `status`; rewritten every few seconds, of no authority."""

from __future__ import annotations

import json
import logging
import uuid
from datetime import UTC, datetime

from embermill.jobs.dataset.liveness import this_process
from embermill.jobs.driver.progress import Meter
from embermill.jobs.storage import Folder

log = logging.getLogger(__name__)

HEARTBEAT = "_embermill/heartbeat.json"
BEAT_EVERY_S = 5.0


class Heartbeat:
    """Of one run. A beat that cannot be written is a beat less, nothing more."""

    def __init__(self, folder: Folder, meter: Meter) -> None:
        self._folder, self._meter = folder, meter
        self._run_id = uuid.uuid4().hex
        self._last_s: float | None = None

    def beat_if_due(self, now_s: float) -> None:
        if self._last_s is None or now_s - self._last_s >= BEAT_EVERY_S:
            self.beat(now_s)

    def beat(self, now_s: float, state: str = "running") -> None:
        """state: "running", or "ended", however it did."""
        self._last_s = now_s
        about = {"state": state, "run": self._run_id, "time": datetime.now(UTC).isoformat(timespec="seconds")} | this_process()
        try:
            self._folder.replace(HEARTBEAT, json.dumps(about | self._meter.snapshot(now_s).to_json()).encode())
        except Exception as error:  # storage in trouble is found out by those who must write
            log.debug("no heartbeat: %s", error)
