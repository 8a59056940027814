"""The driver's hands: what scheduler.py decides is done here, with a pool, a commit log and a clock."""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from embermill.jobs.driver.actions import Abort, Action, Commit, Finish, Hold, Say, Start, Stop, Submit
from embermill.jobs.driver.commit_buffer import CommitBuffer
from embermill.jobs.driver.progress import Meter
from embermill.jobs.driver.scheduler import Scheduler
from embermill.jobs.driver.signs_of_life import SignsOfLife
from embermill.jobs.errors import Interrupted
from embermill.jobs.pool.base import Died, Pool
from embermill.jobs.receipt import Event, Failed, Progress, Ready

log = logging.getLogger(__name__)
LOOK_EVERY_S = 0.5
MOST_WARNED = 256  # warnings that are remembered so that they are not said again: a kilobyte each
FOLLOW_EVERY_S = 5.0  # whether nodes have come or gone


def drive(
    driver: Scheduler,
    pool: Pool,
    commit_buffer: CommitBuffer,
    meter: Meter,
    *,
    signs: SignsOfLife | None = None,
    heard: Iterable[tuple[int, Event | Died]] = (),
    tick: Callable[[float], None] = lambda now_s: None,
    stop: threading.Event | None = None,
    listen: Callable[[int, Event | Died], None] = lambda worker, event: None,
) -> tuple[Failed, ...]:
    """Until nothing is left to do; the partitions that could not be finished. What is committed by then is in the log, however this ends.

    signs: takes down when each worker was heard of. heard: events that came before.
    listen: is told each event of each worker. tick: called about twice a second. stop: end here, in order; raises Interrupted.
    """
    loop = _Loop(driver, pool, commit_buffer, meter, signs or SignsOfLife(), listen)
    try:
        loop.do(driver.start())
        for worker, event in heard:
            loop.hear(worker, event, told=True)
        looked_s, followed_s = -math.inf, time.monotonic()
        while loop.outcome is None:
            if stop is not None and stop.is_set():
                raise Interrupted("interrupted: what was committed is kept; run the same command again to resume from there")
            for worker, event in pool.events(LOOK_EVERY_S):
                loop.hear(worker, event)
            now = time.monotonic()
            commit_buffer.flush_if_due(now)
            if now - looked_s < LOOK_EVERY_S:  # many workers have something to say many times a second
                continue
            looked_s = now
            loop.do(driver.tick(now))
            if now - followed_s >= FOLLOW_EVERY_S:
                followed_s = now
                if (room := pool.room()) is not None:
                    loop.do(driver.follow(room, now))
                    pool.want(driver.lacking)
            tick(now)
        return loop.outcome
    finally:
        commit_buffer.flush(time.monotonic())


class _Loop:
    def __init__(
        self, driver: Scheduler, pool: Pool, commit_buffer: CommitBuffer, meter: Meter, signs: SignsOfLife, listen: Callable[[int, Event | Died], None]
    ) -> None:
        self._listen = listen
        self._driver, self._pool, self._commit_buffer, self._meter, self._signs = driver, pool, commit_buffer, meter, signs
        self._working: dict[int, Ready] = {}
        self._warned: dict[str, None] = {}  # the newest MOST_WARNED, in their order
        self.outcome: tuple[Failed, ...] | None = None

    def hear(self, worker: int, event: Event | Died, *, told: bool = False) -> None:
        """told: who waited for the first worker has said so already, if it died."""
        now_s = time.monotonic()
        match event:
            case Progress():
                self._meter.progress(event, now_s)
            case Ready():
                self._warn_of_shared_gpu(event)
                self._working[worker] = event
                device = f"{event.device_name} {event.device_uuid}".rstrip()
                log.debug("worker %d is ready on %s (%s), after %.1f s", worker, event.host, device, event.seconds_to_load)
            case Died():
                self._working.pop(worker, None)
                if not told:
                    log.warning("worker %d: %s", worker, event.error)
            case Failed():
                self._meter.given_back(event.partition)
                self._warn(event.message)
                self._show_traceback(event)
        self._meter.workers = len(self._working)
        self._signs.heard(worker, event, now_s)
        self._listen(worker, event)
        self.do(self._driver.handle(worker, event, now_s))

    def _warn_of_shared_gpu(self, ready: Ready) -> None:
        if ready.device_uuid and any(ready.device_uuid == other.device_uuid for other in self._working.values()):
            advice = "each should have its own; look at what sets CUDA_VISIBLE_DEVICES inside Ray's workers"
            self._warn(f"two workers on {ready.host} compute on the same GPU, {ready.device_uuid}: {advice}")

    def _show_traceback(self, failed: Failed) -> None:
        """Code that failed is fixed by whoever wrote it, ours or an engine of somebody's own; what else went wrong is not where code stands."""
        trace = failed.traceback.rstrip()
        if trace and failed.kind in ("defect", "engine"):
            self._warn(trace, told_apart_by="\n".join(trace.splitlines()[-3:]))  # the line that failed, whichever way led there
        elif trace:
            log.debug(trace)

    def _warn(self, message: str, told_apart_by: str = "") -> None:
        """Once: a file that changed fails each of its partitions with the same words."""
        key = told_apart_by or message
        if key not in self._warned:
            self._warned[key] = None
            if len(self._warned) > MOST_WARNED:
                del self._warned[next(iter(self._warned))]
            log.warning("%s", message)

    def do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Start(avoid):
                    self._pool.start_worker(avoid)
                case Stop(worker):
                    self._working.pop(worker, None)
                    self._signs.gone(worker)
                    self._pool.stop_worker(worker)
                case Say(message):
                    self._warn(message)
                case Hold(worker):
                    self._working.pop(worker, None)
                    self._signs.gone(worker)
                case Submit(worker, task):
                    self._meter.given_back(task.partition.number)
                    self._pool.submit(worker, task)
                case Commit(receipt):
                    self._commit_buffer.commit(receipt)
                case Finish(failures):
                    self.outcome = failures
                case Abort(error):
                    raise error


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """SIGINT, SIGTERM and SIGHUP set the event; a second one is a KeyboardInterrupt. Outside the main thread signals are somebody else's.

    A signal that whoever started this process ignores, as nohup does with SIGHUP, stays ignored.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    heeded = [number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in heeded}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
