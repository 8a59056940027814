"""The lease on a dataset: one run at a time writes to it. Who comes second learns who is at work, waits for a holder that went silent, and takes over.

A local disk has no compare-and-swap, so the lease is a chain of names that are created only if absent; whoever creates the next name holds the lease,
and its number is the fencing token:

    _embermill/lease/000000007.json            the claim of token 7: who, where, since when, for how long. Never changed
    _embermill/lease/000000007.renewed.json    rewritten every few seconds by the holder alone. Of no authority: it only shows a sign of life
    _embermill/lease/000000007.released.json   created when the holder is through

    released, or its process on this host is gone   the next token is free at once
    its process on this host runs, or it renews     AnotherRun, exit 4
    neither                                         waited for until nothing was renewed for the holder's lease_s, on our own monotonic clock: the clocks
                                                    of two hosts are never compared
A holder that was taken over finds the next number taken (`require_held`), and its next commit meets a later holder's (`Lease.fence`).
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from embermill.jobs.dataset.metadata.commits import CommitLog, last_token
from embermill.jobs.dataset.metadata.liveness import is_gone, is_running, this_process
from embermill.jobs.errors import AnotherRun, JobError
from embermill.jobs.storage import AlreadyExists, Folder

log = logging.getLogger(__name__)

LEASE = "_embermill/lease"
LEASE_S = 60.0
MAX_LEASE_S = 3600.0  # no claim, damaged or of another version, is waited for longer
RENEWALS = 6  # in the time of a lease
LOOK_EVERY_S = 1.0
SHOW_EVERY_S = 10.0
_CLAIM = re.compile(rf"{LEASE}/(\d{{9}})\.json")


@dataclass(frozen=True)
class Waiting:
    """Another run, silent so far, holds the lease. holder: who, in words. left_s: until it may be taken over, if it stays silent."""

    holder: str
    left_s: float


@dataclass(frozen=True)
class Holder:
    """Who has the lease, for somebody who only looks. who: in words. until: when its lease ends unless it is renewed. is_running: seen to run, on this host."""

    who: str
    until: str
    is_running: bool


class Lease:
    """A lease that this process holds. token: greater than that of every holder before. took_over: from one that had not released it."""

    def __init__(self, folder: Folder, token: int, claim: dict[str, Any], took_over: bool) -> None:
        self.folder, self.token, self.took_over = folder, token, took_over
        self._claim, self._beats = claim, 0
        self._lost: AnotherRun | None = None

    def renew(self) -> None:
        """Show a sign of life, and look whether another run has taken over. Storage in trouble is found out by those who must write."""
        self._beats += 1
        beat = {"beat": self._beats, "time": _now().isoformat(timespec="seconds")}
        try:
            self._look()
            self.folder.replace(_renewed(self.token), json.dumps(self._claim | beat).encode())
        except Exception as error:
            log.debug("the lease was not renewed: %s", error)

    def require_held(self) -> None:
        """AnotherRun where a later token was claimed. Asks the storage."""
        self._look()
        self.require_not_lost()

    def require_not_lost(self) -> None:
        """AnotherRun where a renewal has found a later token. Costs nothing."""
        if self._lost is not None:
            raise self._lost

    def fence(self, commits: CommitLog) -> None:
        """End the log for every earlier holder that has not released the lease: one that is silent may live, and would commit when it wakes.

        A commit of a holder stops all before it. So those count that claimed the lease since, and that one itself: who took over from a silent holder may
        have died before it came here.
        """
        earlier = range(self.token - 1, max(commits.newest_token, 1) - 1, -1)
        if any(not self.folder.exists(_released(token)) for token in earlier):
            commits.fence()

    def release(self) -> None:
        """The next run need not wait. Where that cannot be written it waits until the lease ends."""
        try:
            self.folder.create(_released(self.token), json.dumps(self._claim).encode())
        except (AlreadyExists, JobError) as error:
            log.debug("the lease was not released: %s", error)

    def _look(self) -> None:
        """A later claim is the next one, unless `gc` has removed it, a day old, while this process was stopped: then ours went with it."""
        if self._lost is not None:
            return
        claim = _read(self.folder, _claimed(self.token + 1))
        if claim is None and not self.folder.exists(_claimed(self.token)):
            claim = _read(self.folder, _claimed(newest_token(self.folder))) or {}
        if claim is not None:
            self._lost = AnotherRun(f"{self.folder.root}: {_who(claim)} has taken over this dataset, since nothing was heard of this run: this one stops")


class Contender:
    """A run that wants the lease. It acts when `attempt` is called, and knows the time from its caller alone.

    after: a token that was used, as a commit says, whatever became of the claims: a person may have removed their folder.
    """

    def __init__(self, folder: Folder, lease_s: float, purpose: str, after: int = 0) -> None:
        self._folder, self._after = folder, after
        self._claim: dict[str, Any] = {"run": uuid.uuid4().hex, "purpose": purpose, "lease_s": lease_s} | this_process()
        self._watched = (0, b"", 0.0)  # token, its last renewal, when that was first seen

    def attempt(self, now_s: float) -> Lease | Waiting:
        """The lease, or for whom to wait. AnotherRun where its holder is alive."""
        while True:  # each round meets a later token than the one before
            token = max(newest_token(self._folder), self._after)
            holder = _read(self._folder, _claimed(token)) if token else None
            took_over = token > 0 and not self._folder.exists(_released(token))
            if took_over and holder is not None and (waiting := self._judge(token, holder, now_s)) is not None:
                return waiting
            lease = self._create(token + 1, took_over)
            if lease is not None and newest_token(self._folder) <= lease.token:  # else `gc` has removed that number while this process was stopped
                return lease

    def _judge(self, token: int, holder: dict[str, Any], now_s: float) -> Waiting | None:
        """None where the holder is gone."""
        if is_gone(holder):
            return None
        lease_s = _lease_s(holder)
        if is_running(holder):
            raise self._refusal(token, holder, lease_s)
        beat = _read_bytes(self._folder, _renewed(token))
        if self._watched[0] != token:
            self._watched = (token, beat, now_s)
        elif self._watched[1] != beat:
            raise self._refusal(token, holder, lease_s)
        left_s = self._watched[2] + lease_s - now_s
        return Waiting(_who(holder), left_s) if left_s > 0 else None

    def _create(self, token: int, took_over: bool) -> Lease | None:
        claim = self._claim | {"token": token, "time": _now().isoformat(timespec="seconds")}
        try:
            self._folder.create(_claimed(token), json.dumps(claim).encode())
        except AlreadyExists:
            return None
        return Lease(self._folder, token, claim, took_over)

    def _refusal(self, token: int, holder: dict[str, Any], lease_s: float) -> AnotherRun:
        renewed = _read(self._folder, _renewed(token)) or holder
        until = _until(renewed, lease_s)
        return AnotherRun(
            f"{self._folder.root}: another run has this dataset: {_who(holder)}; its lease lasts until {until} and is renewed while it works. "
            "Wait for it to end, or end it first: two runs at once are never useful"
        )


@contextlib.contextmanager
def hold_lease(
    folder: Folder, *, lease_s: float = LEASE_S, purpose: str = "run", show: Callable[[str], None] = log.warning
) -> Iterator[Lease]:
    """Wait for the lease as long as must be, hold and renew it from a thread, release it at the end.

    show: is told, every SHOW_EVERY_S, for whom it waits and how long still. Raises AnotherRun (exit 4).
    """
    lease = _wait(Contender(folder, lease_s, purpose, last_token(folder)), show)
    through = threading.Event()
    renewing = threading.Thread(target=_keep, args=(lease, through, lease_s / RENEWALS), name="lease", daemon=True)
    renewing.start()
    try:
        yield lease
    finally:
        through.set()
        renewing.join()
        lease.release()


def find_holder(folder: Folder) -> Holder | None:
    """None where nobody has it: it was never taken, is released, or its process on this host is gone. Writes nothing."""
    token = newest_token(folder)
    claim = _read(folder, _claimed(token)) if token else None
    if claim is None or folder.exists(_released(token)) or is_gone(claim):
        return None
    return Holder(_who(claim), _until(_read(folder, _renewed(token)) or claim, _lease_s(claim)), is_running(claim))


def newest_token(folder: Folder) -> int:
    """The greatest that is claimed; 0 where none is. A listing may lag behind, so it is walked on from there by name."""
    token = max((int(match[1]) for name, _ in folder.list(LEASE) if (match := _CLAIM.fullmatch(name))), default=0)
    while folder.exists(_claimed(token + 1)):
        token += 1
    return token


def _wait(contender: Contender, show: Callable[[str], None]) -> Lease:
    shown_s = -math.inf
    while isinstance(found := contender.attempt(now_s := time.monotonic()), Waiting):
        if now_s - shown_s >= SHOW_EVERY_S:
            show(f"waiting for {found.holder}, which holds this dataset and is silent: in {found.left_s:.0f} s this run takes over")
            shown_s = now_s
        time.sleep(min(LOOK_EVERY_S, found.left_s))
    return found


def _keep(lease: Lease, through: threading.Event, every_s: float) -> None:
    lease.renew()
    while not through.wait(every_s):
        lease.renew()


def _claimed(token: int) -> str:
    return f"{LEASE}/{token:09d}.json"


def _renewed(token: int) -> str:
    return f"{LEASE}/{token:09d}.renewed.json"


def _released(token: int) -> str:
    return f"{LEASE}/{token:09d}.released.json"


def _read_bytes(folder: Folder, name: str) -> bytes:
    try:
        return folder.read(name)
    except FileNotFoundError:
        return b""


def _read(folder: Folder, name: str) -> dict[str, Any] | None:
    """None where there is no such file; empty where it cannot be read as what it should be: a claim is a claim all the same."""
    try:
        found = json.loads(folder.read(name))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _lease_s(claim: dict[str, Any]) -> float:
    found = claim.get("lease_s")
    return float(min(found, MAX_LEASE_S)) if isinstance(found, int | float) and found > 0 else LEASE_S


def _who(claim: dict[str, Any]) -> str:
    """Who that is, for the person at the keyboard."""
    where = f"process {claim.get('pid', '?')} on {claim.get('host', 'an unknown host')}"
    return f"`embermill {claim.get('purpose', 'run')}`, {where}, since {claim.get('time', 'an unknown time')}"


def _until(renewed: dict[str, Any], lease_s: float) -> str:
    try:
        return (datetime.fromisoformat(renewed["time"]) + timedelta(seconds=lease_s)).isoformat(timespec="seconds")
    except (KeyError, TypeError, ValueError, OverflowError):
        return f"{lease_s:g} s after its last renewal"


def _now() -> datetime:
    return datetime.now(UTC)
