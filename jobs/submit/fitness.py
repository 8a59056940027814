"""What a cluster must have before a job is sent to it. Pure: what was found comes in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embermill.jobs.config import WorkersConfig
from embermill.jobs.errors import UsageError
from embermill.jobs.pool.placement import Node, place

OLDEST_RAY = (2, 55)  # CVE-2026-41486: before it, reading the schema of a Parquet file could run code
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 14)


@dataclass(frozen=True)
class Found:
    """Of a cluster, by its own account. python: None where it does not say."""

    ray: str
    python: str | None
    nodes: tuple[Node, ...]


def require_fit(found: Found, workers: WorkersConfig) -> None:
    """UsageError for a Ray or a Python that embermill does not run on, and for workers that there is no room for."""
    if parts(found.ray) < OLDEST_RAY:
        raise UsageError(f"the cluster runs Ray {found.ray}: expected {dotted(OLDEST_RAY)} or newer (embermill[cluster] on the head and on every node)")
    if found.python is not None and not OLDEST_PYTHON <= parts(found.python) <= NEWEST_PYTHON:
        raise UsageError(f"the cluster runs Python {found.python}: expected {dotted(OLDEST_PYTHON)} to {dotted(NEWEST_PYTHON)}")
    place(workers, found.nodes, joined=True)


def parts(version: str) -> tuple[int, int]:
    """ "2.60.0" -> (2, 60); what is no number counts as 0."""
    numbers = [int(part) if part.isdecimal() else 0 for part in version.split(".")[:2]]
    return numbers[0], numbers[1] if len(numbers) > 1 else 0


def dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))
