"""What a run did, taken down while it does it and written every half minute: speed over time, seconds by stage, and the share of each worker."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from embermill.jobs.dataset.metadata.run_records import record_name, write_record
from embermill.jobs.driver.snapshot import Snapshot
from embermill.jobs.pool.base import Died
from embermill.jobs.receipt import Event, Failed, Progress, Ready
from embermill.jobs.storage import Folder

WRITE_EVERY_S = 30.0
MOST_SAMPLES = 240  # then every second one goes, and those to come are twice as far apart
MOST_WORKERS = 256  # then those that are gone and did least are forgotten, one for each that comes


@dataclass
class _Worker:
    """about: where it is. from_s, to_s: when it was first ready and last heard of, in seconds since the record began. A Ready is ten times as large."""

    about: tuple[str, str, str, int]  # host, device, its UUID, threads
    from_s: float
    to_s: float
    rows: int = 0
    tokens: int = 0
    gone: bool = False


class RunRecord:
    """Of one stage of one run. kind: of its tasks. version: that they make. began_s: by the clock that every call is given. start: StartSteps.seconds."""

    def __init__(
        self, folder: Folder, began_s: float, *, kind: str, version: int, device: str, start: Callable[[], list[tuple[str, float, float]]] = list
    ) -> None:
        self._start = start
        self._folder, self._began_s, self._kind, self._version, self._device = folder, began_s, kind, version, device
        self._run, self._began = uuid.uuid4().hex, datetime.now(UTC)
        self._name = record_name(f"{self._began:%Y%m%dT%H%M%SZ}", self._run)
        self._workers: dict[int, _Worker] = {}
        self._seconds: dict[str, float] = {}
        self._retries: dict[str, int] = {}
        self._samples = [(0.0, 0, 0, 0)]
        self._sample_every_s = 0.5
        self._rows = self._tokens = 0
        self._bound, self._written_s = "", began_s

    def heard(self, worker: int, event: Event | Died, now_s: float) -> None:
        """What a worker said."""
        match event:
            case Ready():
                self._make_room()
                if len(self._workers) < MOST_WORKERS:
                    about = sys.intern(event.host), sys.intern(event.device_name), sys.intern(event.device_uuid), event.threads
                    self._workers[worker] = _Worker(about, now_s - self._began_s, now_s - self._began_s)
            case Progress():
                self._rows, self._tokens = self._rows + event.rows, self._tokens + event.tokens
                for stage, seconds in event.seconds.items():
                    self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds
                if (known := self._workers.get(worker)) is not None:
                    known.rows, known.tokens = known.rows + event.rows, known.tokens + event.tokens
            case Failed() | Died():
                self._retries[event.kind] = self._retries.get(event.kind, 0) + 1
                if isinstance(event, Died) and (known := self._workers.get(worker)) is not None:
                    known.gone = True
        if not isinstance(event, Died) and (known := self._workers.get(worker)) is not None:
            known.to_s = now_s - self._began_s

    def _make_room(self) -> None:
        if len(self._workers) < MOST_WORKERS:
            return
        if gone := [number for number, worker in self._workers.items() if worker.gone]:
            del self._workers[min(gone, key=lambda number: self._workers[number].rows)]

    def look(self, snapshot: Snapshot, now_s: float) -> None:
        """About twice a second."""
        self._bound = snapshot.bound
        if now_s - self._began_s - self._samples[-1][0] >= self._sample_every_s:
            self._take_sample(snapshot.workers, now_s)
        if now_s - self._written_s >= WRITE_EVERY_S:
            self._write(now_s, 0.0)

    def end(self, snapshot: Snapshot, now_s: float, seconds_embedding: float) -> None:
        """seconds_embedding: from the first row that was read to the last commit."""
        self._bound = snapshot.bound
        self._take_sample(snapshot.workers, now_s)
        self._write(now_s, seconds_embedding, ended=True)

    def _take_sample(self, workers: int, now_s: float) -> None:
        self._samples.append((round(now_s - self._began_s, 3), self._rows, self._tokens, workers))
        if len(self._samples) > MOST_SAMPLES:
            self._samples = [*self._samples[:-1:2], self._samples[-1]]
            self._sample_every_s *= 2

    def _write(self, now_s: float, seconds_embedding: float, ended: bool = False) -> None:
        self._written_s = now_s
        write_record(self._folder, self._name, self._describe(now_s) | {"seconds_embedding": round(seconds_embedding, 3), "ended": ended})

    def _describe(self, now_s: float) -> dict[str, Any]:
        return {
            "run": self._run,
            "kind": self._kind,
            "version": self._version,
            "began": self._began.isoformat(timespec="seconds"),
            "seconds": round(now_s - self._began_s, 3),
            "device": self._device,
            "rows": self._rows,
            "tokens": self._tokens,
            "stage_seconds": {stage: round(seconds, 6) for stage, seconds in self._seconds.items()},
            "bound": self._bound,
            "retries": self._retries,
            "workers": [_describe(number, worker) for number, worker in self._workers.items()],
            "samples": self._samples,
            "start": [{"step": step, "seconds": round(took, 3), "at_s": round(at, 3)} for step, took, at in self._start()],
        }


def _describe(number: int, worker: _Worker) -> dict[str, Any]:
    about = dict(zip(("worker", "host", "device", "device_uuid", "threads"), (number, *worker.about), strict=True))
    return about | {"rows": worker.rows, "tokens": worker.tokens, "from_s": round(worker.from_s, 3), "to_s": round(worker.to_s, 3)}
