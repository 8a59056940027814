"""How many threads of a worker encode row groups beside the one that writes."""

from __future__ import annotations

MOST_ENCODERS, CORES_FOR_AN_ENCODER = 4, 4


def encoders_for(threads: int) -> int:
    """threads: of the CPU that the worker may use. A worker with few of them, as on a CPU, encodes in the thread that writes: 0."""
    return min(MOST_ENCODERS, threads // CORES_FOR_AN_ENCODER)
