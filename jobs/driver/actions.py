"""What the driver decides: actions, carried out by loop.py.

    Start    begin another worker, not on a node in `avoid`; it speaks up as Ready, or Died
    Stop     end a worker, whatever it is doing
    Hold     keep a worker that gets no work, so that no other is put where it is
    Submit   queue a partition on a worker
    Commit   a shard that no commit names yet
    Say      tell the person at the keyboard
    Finish   nothing is left to do; `failures` could not be finished, everything else is committed
    Abort    going on is pointless
"""

from __future__ import annotations

from dataclasses import dataclass

from embermill.jobs.errors import JobError
from embermill.jobs.receipt import Failed, Receipt, Task


@dataclass(frozen=True)
class Start:
    avoid: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Stop:
    worker: int


@dataclass(frozen=True)
class Hold:
    worker: int


@dataclass(frozen=True)
class Submit:
    worker: int
    task: Task


@dataclass(frozen=True)
class Commit:
    receipt: Receipt


@dataclass(frozen=True)
class Say:
    message: str


@dataclass(frozen=True)
class Finish:
    failures: tuple[Failed, ...]


@dataclass(frozen=True)
class Abort:
    error: JobError


Action = Start | Stop | Hold | Submit | Commit | Say | Finish | Abort
