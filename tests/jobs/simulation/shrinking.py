"""What went wrong under a seed, with as few faults as it takes."""

from __future__ import annotations

import re

from tests.jobs.simulation.simulator import Simulation, make, simulate

MOST_RUNS = 1000  # of one seed, while faults are left out


def failure_of(seed: int) -> str | None:
    """What went wrong, and the moments before it, without the faults that it does not take; None where nothing did."""
    error, simulation = _fails(seed, frozenset())
    if error is None:
        return None
    left_out = _needless(seed, _kind(error), len(simulation.faults.happened))
    error, least = _fails(seed, left_out)
    faults = f"{len(least.faults.happened)} of {len(simulation.faults.happened)} faults are enough"
    return f"seed {seed}: {type(error).__name__}: {error} ({faults}; the others: {sorted(left_out)})\n" + "\n".join(least.trace)


def fails(seed: int) -> bool:
    return _fails(seed, frozenset())[0] is not None


def _fails(seed: int, left_out: frozenset[int]) -> tuple[Exception | None, Simulation]:
    simulation = make(seed, left_out)
    try:
        simulate(simulation)
    except Exception as error:
        return error, simulation
    return None, simulation


def _needless(seed: int, kind: str, happened: int) -> frozenset[int]:
    """Faults without which the seed fails in the same way. A fault left out changes what follows, and so which faults come: fewer must be left each time."""
    left_out, runs, size = frozenset[int](), 0, happened
    while size >= 1 and runs < MOST_RUNS:
        before, simulation = happened, _fails(seed, left_out)[1]
        standing = simulation.faults.happened
        for end in range(len(standing), 0, -size):  # the last ones first: what comes before them stays as it is
            tried = left_out | frozenset(standing[max(0, end - size) : end])
            error, simulation = _fails(seed, tried)
            runs += 1
            if error is not None and _kind(error) == kind and len(simulation.faults.happened) < happened:
                left_out, happened = tried, len(simulation.faults.happened)
        if happened == before or size > 1:
            size //= 2
    return left_out


def _kind(error: Exception) -> str:
    """The words without the numbers."""
    return type(error).__name__ + re.sub(r"\d+", "", str(error))
