"""What a target's client library raises, told as what it is: for a person to fix, or worth running again. What our own code raises is a defect of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from embermill.jobs.errors import Interrupted, JobError, UsageError
from embermill.jobs.index import Address, Target
from embermill.jobs.storage import of_disk
from embermill.jobs.storage.local_path import local_path

PASSING = ("Connection", "Timeout", "Unavailable", "OperationalError", "Interrupted", "TooManyRequests")
"""Words in the names of exceptions for what may be gone by the next time."""


@contextlib.contextmanager
def told(address: Address, made: type[Target]) -> Iterator[None]:
    try:
        yield
    except JobError:
        raise
    except Exception as error:
        if made.__module__.startswith("embermill.") and not _is_of_library(error):
            raise
        place = _folder_of(address)
        if place is not None and (failure := of_disk(error, f"target {address.shown}: cannot be used", place)) is not None:
            raise failure from error
        words = f"target {address.shown}: {type(error).__name__}: {str(error).strip() or 'no more is said'}"
        if any(word in each.__name__ for each in type(error).__mro__ for word in PASSING):
            raise Interrupted(f"{words}. What is committed stays: run the same command again, it resumes") from error
        raise UsageError(words) from error


def _folder_of(address: Address) -> Path | None:
    """Where its files lie on this machine; None of a server, of an object store, and of a class of the user's own."""
    if "://" in address.text or address.scheme in ("python", "postgresql", "qdrant"):
        return None
    return local_path(address.place).parent


def _is_of_library(error: Exception) -> bool:
    """Raised by somebody else's code, however its class is called: the last frame that is no part of Python is not ours."""
    if isinstance(error, OSError):
        return True
    trace, last = error.__traceback__, ""
    while trace is not None:
        last = str(trace.tb_frame.f_globals.get("__name__", "")) or last
        trace = trace.tb_next
    home = type(error).__module__.partition(".")[0]
    return not last.startswith("embermill.") or home not in ("builtins", "embermill")
