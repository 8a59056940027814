"""One loader at a time into a collection of a server that has no lock of its own: a lease among the collection's metadata.

The servers of Qdrant, Milvus and Chroma cannot write metadata only where they still are what was read. So a loader that finds the collection free writes its
name, waits longer than a write takes, and goes on where the name is still its own; of several that came at once, the last to write does. While it
works it changes the lease again and again. Whoever finds a lease watches it: it changes, so somebody is at work; it does not for long enough, so nobody is.
No clocks are compared. A write that reaches the server more than SETTLE_S after it was sent can break this; a loader sees that at its next beat and ends.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

from embermill.jobs.errors import AnotherRun
from embermill.jobs.index import Target

log = logging.getLogger(__name__)

KEY = "embermill_lease"
SETTLE_S = 3.0
BEAT_S = 5.0
GONE_S = 30.0  # without a change: the loader is gone
LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class Holder:
    """Who holds a lease. beat: grows while it does."""

    loader: str = field(default_factory=lambda: uuid.uuid4().hex)
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    beat: int = 0

    def to_text(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @property
    def has_ended(self) -> bool:
        """Whether it was a process of this host which is there no more."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False


def read_holder(text: str | None) -> Holder | None:
    """None where it is free, or what is there is none of ours."""
    try:
        return Holder(**json.loads(text)) if text else None
    except (ValueError, TypeError):
        return None


class Lease:
    """read, write: of the lease's text in the target; called from a thread of ours, too. where: the target, in words."""

    def __init__(self, where: str, read: Callable[[], str | None], write: Callable[[str], None]) -> None:
        self._where, self._read, self._write = where, read, write
        self._holder = Holder()
        self._stop = threading.Event()
        self._beats: threading.Thread | None = None
        self._lost = False

    @property
    def is_held(self) -> bool:
        return self._beats is not None

    def acquire(self) -> None:
        """AnotherRun where somebody else is at work, within BEAT_S and a little; waits GONE_S for one that was lost with its host."""
        found = read_holder(self._read())
        if found is not None and not found.has_ended:
            self._watch(found)
        self._write(self._holder.to_text())
        time.sleep(SETTLE_S)
        self._require_ours(read_holder(self._read()))
        self._beats = threading.Thread(target=self._beat, name="load-lease", daemon=True)
        self._beats.start()

    def require(self) -> None:
        """Before a commit. AnotherRun where it was lost."""
        if self._lost:
            raise AnotherRun(f"{self._where}: another `embermill load` took it over; this one has stopped")

    def release(self) -> None:
        """Free again, where it is still ours."""
        self._stop.set()
        if self._beats is not None:
            self._beats.join()
            self._beats = None
            if not self._lost:
                self._write("")

    def _watch(self, found: Holder) -> None:
        log.info("%s: process %d on %s has or had it; watching whether it is still at work", self._where, found.pid, found.host)
        until = time.monotonic() + GONE_S
        while time.monotonic() < until:
            time.sleep(LOOK_EVERY_S)
            now = read_holder(self._read())
            if now is None:
                return
            if now != found:
                self._require_ours(now)
        log.warning("%s: process %d on %s did nothing for %g s; taking over", self._where, found.pid, found.host, GONE_S)

    def _require_ours(self, now: Holder | None) -> None:
        if now is None or now.loader != self._holder.loader:
            who = "" if now is None else f" (process {now.pid} on {now.host})"
            raise AnotherRun(f"{self._where}: another `embermill load` is at work on it{who}")

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_S):
            try:
                now = read_holder(self._read())
                if now is None or now.loader != self._holder.loader:
                    self._lost = True
                    return
                self._holder = replace(self._holder, beat=self._holder.beat + 1)
                self._write(self._holder.to_text())
            except Exception as error:  # the load itself meets what is wrong with the connection
                log.warning("%s: the lease was not renewed: %s", self._where, error)


class LeasedTarget(Target):
    """What the targets share that may be a collection on a server: there a lease keeps other loaders out."""

    where: str
    is_server: bool
    _lease: Lease | None = None

    @abstractmethod
    def has_collection(self) -> bool: ...

    @abstractmethod
    def read_metadata(self, key: str) -> str | None:
        """Of the collection, which exists, as the server has it now."""
        ...

    @abstractmethod
    def write_metadata(self, key: str, text: str) -> None:
        """Leaves other keys as they are. Called from two threads."""
        ...

    def lock(self) -> None:
        """A collection that does not exist yet has no place for a lease: `hold_created` follows."""
        if self.is_server:
            if self.never_run:
                log.warning("%s: this code was never run against a real server; %s", self.where, self.never_run)
            self._lease = Lease(self.where, lambda: self.read_metadata(KEY), lambda text: self.write_metadata(KEY, text))
            if self.has_collection():
                self._lease.acquire()

    def create(self, make: Callable[[], object]) -> None:
        """Make the collection. AnotherRun where another loader was quicker."""
        try:
            make()
        except Exception:
            if self.is_server and self.has_collection():
                raise AnotherRun(f"{self.where}: another `embermill load` has just created it") from None
            raise

    def hold_created(self) -> None:
        """The collection exists now."""
        if self._lease is not None and not self._lease.is_held:
            self._lease.acquire()

    def require_lease(self) -> None:
        if self._lease is not None:
            self._lease.require()

    def release_lease(self) -> None:
        if self._lease is not None:
            self._lease.release()
            self._lease = None
