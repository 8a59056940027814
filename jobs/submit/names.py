"""Names of jobs. A name stands for one dataset's job; each submission of it is an attempt with an id of its own, as Ray never takes an id twice. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

from embermill.jobs.errors import UsageError

PATTERN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,58}[A-Za-z0-9])?")
EXPECTED = "expected up to 60 letters, digits, dots, dashes and underscores, the first and the last one a letter or a digit"


class Named(Protocol):
    """A submission, as far as its name goes."""

    @property
    def name(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def id(self) -> str: ...


def job_name(given: str | None, uri: str) -> str:
    """The name that was given, or that of the dataset: the last part of output.uri. UsageError for one that cannot be a name."""
    if given is not None:
        if not PATTERN.fullmatch(given):
            raise UsageError(f"--name {given}: {EXPECTED}")
        return given
    last = uri.rstrip("/").rpartition("/")[2]
    made = re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("._-")[:60].strip("._-")
    return made or "embermill"


def attempts_of(name: str, submissions: Iterable[Named]) -> list[Named]:
    """The submissions of that name, the oldest first."""
    return sorted((each for each in submissions if each.name == name), key=lambda each: each.attempt)


def next_attempt(name: str, submissions: Sequence[Named]) -> tuple[int, str]:
    """(attempt, id) of one more submission."""
    of_name, ids = attempts_of(name, submissions), {each.id for each in submissions}
    attempt = 1 + (of_name[-1].attempt if of_name else 0)
    while (made := f"{name}-{attempt}") in ids:  # a job of another name, or of somebody else, may be called so
        attempt += 1
    return attempt, made


def find_submission(wanted: str, submissions: Sequence[Named]) -> Named:
    """By its name, then the newest attempt, or by its id. UsageError where there is none."""
    if found := attempts_of(wanted, submissions):
        return found[-1]
    if by_id := next((each for each in submissions if each.id == wanted), None):
        return by_id
    names = sorted({each.name for each in submissions})
    known = f"known there: {', '.join(names[:20])}" if names else "no job of embermill was submitted there"
    raise UsageError(f"no job is called {wanted} on this cluster; {known} (a cluster that has been restarted knows none of its former jobs)")
