"""What went wrong under a seed, with as few faults as it takes."""

from __future__ import annotations

import re
import time

from tests.jobs.simulation.runs import Simulation
from tests.jobs.simulation.simulator import make, simulate

MOST_S = 5.0  # for finding out which faults of one seed can be left out


def failure_of(seed: int, *, leaps: bool = True) -> str | None:
    """What went wrong, and the moments before it, without the faults that it does not take; None where nothing did."""
    error, simulation = _fails(seed, frozenset(), leaps)
    if error is None:
        return None
    left_out = _needless(seed, _kind(error), len(simulation.faults.happened), leaps)
    error, least = _fails(seed, left_out, leaps)
    faults = f"{len(least.faults.happened)} of {len(simulation.faults.happened)} faults are enough"
    return f"seed {seed}: {type(error).__name__}: {error} ({faults}; the others: {sorted(left_out)})\n" + "\n".join(least.trace)


def fails(seed: int) -> bool:
    """Whether something is not as it must be. Any other error is a fault of the simulator, and is raised."""
    error, _ = _fails(seed, frozenset(), leaps=True)
    if error is not None and not isinstance(error, AssertionError):
        raise error
    return error is not None


def _fails(seed: int, left_out: frozenset[int], leaps: bool) -> tuple[Exception | None, Simulation]:
    simulation = make(seed, left_out, leaps=leaps)
    try:
        simulate(simulation)
    except Exception as error:
        return error, simulation
    return None, simulation


def _needless(seed: int, kind: str, happened: int, leaps: bool) -> frozenset[int]:
    """Faults without which the seed fails in the same way. A fault left out changes what follows, and so which faults come: fewer must be left each time."""
    left_out, size, until_s = frozenset[int](), happened, time.monotonic() + MOST_S
    while size >= 1:
        before, simulation = happened, _fails(seed, left_out, leaps)[1]
        standing = simulation.faults.happened
        for end in range(len(standing), 0, -size):  # the last ones first: what comes before them stays as it is
            tried = left_out | frozenset(standing[max(0, end - size) : end])
            error, simulation = _fails(seed, tried, leaps)
            if time.monotonic() > until_s:
                return left_out
            if error is not None and _kind(error) == kind and len(simulation.faults.happened) < happened:
                left_out, happened = tried, len(simulation.faults.happened)
        if happened == before or size > 1:
            size //= 2
    return left_out


def _kind(error: Exception) -> str:
    """The words without the numbers."""
    return type(error).__name__ + re.sub(r"\d+", "", str(error))
