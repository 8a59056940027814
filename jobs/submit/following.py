"""A job's log as it comes: progress goes to the display, what the job says to the person, until it ends or somebody does not want to watch any longer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, Protocol, cast

from embermill.jobs.driver.display import Display
from embermill.jobs.driver.progress_record import read_record
from embermill.jobs.errors import Interrupted
from embermill.jobs.submit.endings import Submission
from embermill.jobs.submit.start import REPORT

POLL_S, LOST_S = 1.0, 300.0  # without an answer from the cluster
RAYS_OWN = ("Running entrypoint for job ", "Runtime env is setting up.")
LAST_WORDS = "embermill: "  # of a driver that fails, on stderr; its answer says the same


class Watched(Protocol):
    """What of a cluster is needed to follow a job."""

    def look(self, id: str) -> Submission: ...
    def log(self, id: str) -> str: ...
    def tail(self, id: str) -> AsyncIterator[str]: ...


class Reading:
    """Lines of a job's log, told apart. started: what the start script found on the cluster, None before it says so. answer: the driver's JSON, its last."""

    def __init__(self, display: Display, say: Callable[[str], None]) -> None:
        self._display, self._say = display, say
        self._seen = self._skip = 0  # lines of this reading, and those of an earlier one that come again
        self._rest = ""
        self.started: dict[str, Any] | None = None
        self.answer: dict[str, Any] | None = None

    def again(self) -> Reading:
        """The log is read from its beginning: what was seen is passed over."""
        self._skip, self._seen, self._rest = max(self._skip, self._seen), 0, ""
        return self

    def take(self, chunk: str) -> None:
        """The next piece of the log, wherever it is cut."""
        *lines, self._rest = (self._rest + chunk).split("\n")
        for line in lines:
            self._seen += 1
            if self._seen > self._skip:
                self._take_line(line.rstrip("\r"))

    def end(self) -> None:
        """The log has ended: a last line without its end counts."""
        if self._rest:
            self.take("\n")

    def _take_line(self, line: str) -> None:
        if line.startswith(REPORT):
            self.started = _object(line.removeprefix(REPORT)) or {}
            return
        told = read_record(line)
        if isinstance(told, str):
            self._display.phase(told)
        elif told is not None:
            self._display.show(told, time.monotonic())
        elif line.startswith('{"') and (answer := _object(line)) is not None:
            self.answer = answer
        elif line.strip() and not line.startswith(LAST_WORDS) and not any(words in line for words in RAYS_OWN):
            self._say(line)


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def follow(cluster: Watched, id: str, reading: Reading, *, enough: Callable[[], bool] = lambda: False) -> Submission:
    """Until the job has ended, or `enough` after some piece of its log; the job as it is then. KeyboardInterrupt leaves it running."""
    return asyncio.run(_follow(cluster, id, reading, enough))


async def _follow(cluster: Watched, id: str, reading: Reading, enough: Callable[[], bool]) -> Submission:
    heard_s = time.monotonic()
    while True:
        try:
            job = cluster.look(id)
            if job.status == "RUNNING" and await _read(cluster, id, reading.again(), enough):
                return job
            heard_s = time.monotonic()
            if not job.is_running:
                reading.again().take(cluster.log(id))
                reading.end()
                return job
        except (Interrupted, OSError, RuntimeError) as error:  # the connection, not the job
            if time.monotonic() - heard_s > LOST_S:
                raise Interrupted(f"the cluster has not answered for {LOST_S:.0f} s; {id} may be running there still: {error}") from error
        await asyncio.sleep(POLL_S)


async def _read(cluster: Watched, id: str, reading: Reading, enough: Callable[[], bool]) -> bool:
    """To the end of what the cluster sends, or until it is enough."""
    async with aclosing(cast("Any", cluster.tail(id))) as tail:
        async for chunk in tail:
            reading.take(chunk)
            if enough():
                return True
    return False
